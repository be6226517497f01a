//! The kernel functions that the programs are attached to, as the programs' source declares them.
//!
//! Above each `hook!` and each `#[raw_tracepoint]` stands a comment with the prototype, on a line of
//! its own: `// int security_file_open(struct file *file)`. Where kernels differ there is a line for
//! each way in which they declare it, with the reason behind the closing parenthesis; one of them must
//! be what the running kernel has. A line for `bpf_lsm_…` stands where the LSM hook takes something
//! else than the function.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use holdfast_wire::btf::Prototype;

/// A place in the kernel that programs are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The function, or the tracepoint.
    pub name: String,
    /// Whether it is a tracepoint.
    pub is_tracepoint: bool,
    /// The LSM hook behind the function, where programs are attached to that as well.
    pub lsm: Option<String>,
    /// The prototypes of the function or tracepoint.
    pub declared: Vec<Prototype>,
    /// The prototypes of `bpf_lsm_…`, where they are declared apart.
    pub declared_lsm: Vec<Prototype>,
}

/// All hooks of the source files in a directory and those below it, by name.
///
/// # Errors
/// When a file cannot be read, a hook has no prototype, or a prototype is none.
pub fn hooks(dir: &Path) -> Result<BTreeMap<String, Hook>> {
    let mut hooks = BTreeMap::new();
    let entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", dir.display()))?
            .path();
        if path.is_dir() {
            hooks.extend(self::hooks(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            for hook in in_source(&text).with_context(|| path.display().to_string())? {
                hooks.insert(hook.name.clone(), hook);
            }
        }
    }
    Ok(hooks)
}

/// The hooks of one source file.
fn in_source(text: &str) -> Result<Vec<Hook>> {
    let mut hooks = Vec::new();
    let mut comments: Vec<&str> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("// ") {
            comments.push(comment);
            continue;
        }
        let begins = |with: &str| line.starts_with(with);
        if begins("hook!(") || begins("#[raw_tracepoint(") {
            let mut call = line.to_owned();
            while !call.contains(')') {
                call += lines.next().context("a hook does not end")?;
            }
            // Several hooks of one function may stand together.
            hooks.push(hook(&call, &comments)?);
            continue;
        }
        comments.clear();
    }
    Ok(hooks)
}

fn hook(call: &str, comments: &[&str]) -> Result<Hook> {
    let mut names = call.split('"').skip(1).step_by(2).map(str::to_owned);
    let (first, second) = (names.next().context("a hook has no name")?, names.next());
    // `hook!(… "LSM hook", "function", …)`; what only watches has the function alone.
    let (lsm, name) = match second {
        Some(function) => (Some(first), function),
        None => (None, first),
    };
    let of = |function: &str| -> Result<Vec<Prototype>> {
        let prototypes = comments.iter().filter_map(|line| {
            let (head, rest) = line.split_once('(')?;
            let returns = head.strip_suffix(function)?;
            (returns.ends_with([' ', '*'])).then(|| parse(returns, rest))
        });
        prototypes.collect()
    };
    let declared = of(&name)?;
    ensure!(
        !declared.is_empty(),
        "no `// int {name}(…)` stands above the hook"
    );
    Ok(Hook {
        declared_lsm: match &lsm {
            Some(lsm) => of(&format!("bpf_lsm_{lsm}"))?,
            None => Vec::new(),
        },
        is_tracepoint: call.starts_with("#["),
        name,
        lsm,
        declared,
    })
}

/// `returns` is what stands before the name, `rest` what stands behind the opening parenthesis.
fn parse(returns: &str, rest: &str) -> Result<Prototype> {
    let (parameters, _) = rest
        .split_once(')')
        .context("a prototype does not end on its line")?;
    let parameters = parameters.split(',').filter(|text| text.trim() != "void");
    let type_of = |parameter: &str| {
        let named = parameter.trim();
        let bare = named.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        ensure!(
            !bare.is_empty() && bare.len() < named.len(),
            "the parameter '{named}' is not a type and a name"
        );
        Ok(spaced(bare))
    };
    Ok(Prototype {
        returns: spaced(returns),
        parameters: parameters.map(type_of).collect::<Result<_>>()?,
    })
}

/// With the spaces that C's writers agree on: `const char *`.
fn spaced(text: &str) -> String {
    let apart = text.replace('*', " * ");
    let words: Vec<&str> = apart.split_ascii_whitespace().collect();
    words
        .join(" ")
        .replace("* *", "**")
        .replace("* const", "*const")
}

/// As in the comments, without names.
pub fn shown(name: &str, prototype: &Prototype) -> String {
    let Prototype {
        returns,
        parameters,
    } = prototype;
    let space = if returns.ends_with('*') { "" } else { " " };
    format!("{returns}{space}{name}({})", parameters.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prototypes_are_read_with_their_variants() {
        let source = "\
/// Not this.
// int security_x(const struct path *dir, unsigned int mode), before 6.0
// int security_x(struct mnt_idmap *idmap, const struct path *dir), since 6.0: maps ids
// int bpf_lsm_x(const struct path *dir)
// Something else about it.
hook!(x_lsm x_fmod x_fentry x_kprobe,
    \"x\", \"security_x\", x);

// void sched_x(void)
#[raw_tracepoint(tracepoint = \"sched_x\")]
";
        let hooks = in_source(source).unwrap();
        let shown: Vec<String> = hooks[0]
            .declared
            .iter()
            .map(|it| shown("security_x", it))
            .collect();
        assert_eq!(
            shown,
            [
                "int security_x(const struct path *, unsigned int)",
                "int security_x(struct mnt_idmap *, const struct path *)"
            ]
        );
        assert_eq!(hooks[0].lsm.as_deref(), Some("x"));
        assert_eq!(hooks[0].declared_lsm[0].parameters, ["const struct path *"]);
        assert!(hooks[1].is_tracepoint && hooks[1].declared[0].parameters.is_empty());
    }

    #[test]
    fn a_hook_without_a_prototype_is_an_error() {
        let without = "// int security_y(int a)\nhook!(@watch a b, \"security_x\", x);\n";
        assert!(in_source(without).is_err());
        let unnamed = "// int security_x(int)\nhook!(@watch a b, \"security_x\", x);\n";
        assert!(in_source(unnamed).is_err());
    }

    #[test]
    fn every_hook_of_the_programs_has_a_prototype() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/src");
        let hooks = hooks(&source).unwrap();
        assert!(hooks.contains_key("security_file_open"));
        assert!(hooks["sched_process_exec"].is_tracepoint);
    }
}
