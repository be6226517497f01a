//! What the last name of a path rules out, so that the kernel need not find out the path.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::Kind;

use super::tables::set;
use crate::plan::{Plan, PlannedTerm};
use crate::snapshot::NameEntry;
use crate::stage::{Key, Test};
use crate::table::{Dimension, HookTable, NAME_WORDS, Vector, WORDS, name_bucket, name_of};

/// Where it is looked up: opens are many, and the kernel has the name at hand. One kind alone, since buckets
/// say nothing of kinds.
const KIND: Kind = Kind::FileOpen;
/// Names of a term at most: more would fill the buckets, and then they tell nothing.
const MAX_NAMES: usize = crate::table::NAME_BUCKETS / 4;

/// The names of the paths for which a test can hold; `None` where it can for any.
type Names = Option<BTreeSet<[u64; NAME_WORDS]>>;

/// Enters them, where they rule out something.
pub(super) fn enter(plan: &Plan, hook: &mut HookTable, entries: &mut Vec<NameEntry>) {
    if plan.kind != KIND {
        return;
    }
    let mut unlisted: Vector = [0; WORDS];
    let mut listed: BTreeMap<u32, Vector> = BTreeMap::new();
    for (index, term) in plan.terms.iter().enumerate() {
        match of_term(term).filter(|names| names.len() <= MAX_NAMES) {
            None => set(&mut unlisted, index),
            Some(names) => names.into_iter().for_each(|name| {
                set(listed.entry(name_bucket(0, name)).or_default(), index);
            }),
        }
    }
    if unlisted == hook.all {
        return;
    }
    hook.dimensions |= 1 << Dimension::Name as u32;
    hook.unlisted[Dimension::Name as usize] = unlisted;
    let listed = listed.into_iter();
    entries.extend(listed.map(|(bucket, vector)| NameEntry { bucket, vector }));
}

fn of_term(term: &PlannedTerm) -> Names {
    let tests = term.staged.tests.iter();
    let about_path =
        tests.filter(|(dimension, _)| matches!(dimension, Dimension::Path | Dimension::Suffix));
    fewest(about_path.map(|(_, test)| of_test(test)))
}

/// Recursion follows the expression, whose depth is bounded.
fn of_test(test: &Test) -> Names {
    match test {
        Test::Key(key) => of_key(key),
        Test::Not(_) => None,
        Test::All(parts) => fewest(parts.iter().map(of_test)),
        Test::Any(parts) => {
            let parts = parts.iter().map(of_test).collect::<Option<Vec<_>>>()?;
            Some(parts.into_iter().flatten().collect())
        }
    }
}

/// Each of several tests must hold: the names of one are enough.
fn fewest(names: impl Iterator<Item = Names>) -> Names {
    names.flatten().min_by_key(BTreeSet::len)
}

fn of_key(key: &Key) -> Names {
    match key {
        Key::Paths(paths) => Some(paths.iter().map(|path| name_of(path)).collect()),
        Key::Suffix(suffix) if suffix.contains('/') => {
            Some(BTreeSet::from([name_of(suffix.as_bytes())]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::List;
    use crate::stage::Test;

    fn names(test: &Test) -> Option<Vec<String>> {
        let text = |name: [u64; NAME_WORDS]| {
            let bytes = name.map(u64::to_ne_bytes).concat();
            String::from_utf8(bytes)
                .unwrap()
                .trim_end_matches('\0')
                .to_owned()
        };
        Some(of_test(test)?.into_iter().map(text).collect())
    }

    fn paths(paths: &[&str]) -> Test {
        let list = List::new(paths.iter().map(|path| (*path).to_owned()).collect());
        Test::Key(Key::Paths(list.paths().unwrap()))
    }

    fn prefix(prefix: &str) -> Test {
        Test::Key(Key::prefix(prefix).unwrap())
    }

    fn suffix(suffix: &str) -> Test {
        Test::Key(Key::suffix(suffix).unwrap())
    }

    #[test]
    fn names_are_those_of_whole_paths() {
        let both = paths(&["/etc/shadow", "/a/b"]);
        assert_eq!(names(&both).unwrap(), ["b", "shadow"]);
        assert_eq!(names(&suffix("/x/id_rsa")).unwrap(), ["id_rsa"]);
        assert_eq!(names(&paths(&["/", "no-slash"])).unwrap(), ["", "no-slash"]);
        let long = "/a/abcdefghijklmnopqrstuvwxyz0123456789";
        assert_eq!(
            names(&paths(&[long])).unwrap(),
            ["abcdefghijklmnopqrstuvwx"]
        );
    }

    #[test]
    fn what_any_name_may_meet_has_none() {
        for test in [
            prefix("/etc/"),
            suffix(".so"),
            both(prefix("/a"), suffix(".z")),
        ] {
            assert_eq!(names(&test), None, "{test:?}");
        }
        assert_eq!(names(&paths(&["/a"]).not()), None);
        assert_eq!(names(&either(paths(&["/a"]), prefix("/b"))), None);
    }

    #[test]
    fn one_of_several_conditions_is_enough() {
        let test = both(prefix("/etc/"), paths(&["/etc/a", "/etc/b"]));
        assert_eq!(names(&test).unwrap(), ["a", "b"]);
        assert_eq!(names(&both(test, suffix("/a"))).unwrap(), ["a"]);
        assert_eq!(
            names(&either(paths(&["/a"]), paths(&["/b"]))).unwrap(),
            ["a", "b"]
        );
    }

    fn both(one: Test, other: Test) -> Test {
        Test::All(vec![one, other])
    }

    fn either(one: Test, other: Test) -> Test {
        Test::Any(vec![one, other])
    }
}
