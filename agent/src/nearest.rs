//! The nearest valid name to one that does not exist.

/// The candidate that differs least from `name`, if one is near enough to be what was meant: at most
/// a third of the letters (and always one) may be wrong.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean "x"?)`, or nothing.
pub(crate) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates)
        .map(|near| format!(" (did you mean \"{near}\"?)"))
        .unwrap_or_default()
}

/// Letters to insert, remove or change to get from one to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(
            nearest("polcy.paths", ["mode", "policy.paths"]),
            Some("policy.paths")
        );
        assert_eq!(nearest("enforced", ["observe", "enforce"]), Some("enforce"));
        assert_eq!(nearest("xyz", ["mode", "tier"]), None);
        assert_eq!(hint("teir", ["tier"]), "");
        assert_eq!(hint("tierr", ["tier"]), " (did you mean \"tier\"?)");
    }
}
