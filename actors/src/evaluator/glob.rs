//! Globs over the names of actions: `*` stands for any characters, dots included.

/// Whether `name` matches `glob`. Linear in the product of the lengths at worst.
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    // A split has a first part, be it empty.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("*", "sensor.start", true),
            ("sensor.*", "sensor.start", true),
            ("sensor.*", "sensors", false),
            ("*.st*t", "sensor.start", true),
            ("*.start", "sensor.restart", false),
            ("sensor.start", "sensor.start", true),
            ("sensor.start", "sensor.started", false),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }
}
