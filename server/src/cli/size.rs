//! Sizes on the command line: a number of bytes, behind which there may be a unit.

const UNITS: [(&str, i64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Bytes, `least` of them at least.
///
/// # Errors
/// What is expected, in words.
pub(super) fn size(text: &str, least: i64) -> Result<i64, String> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1));
    let number = number.trim_end().parse::<i64>().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| *bytes >= least)
        .ok_or_else(|| {
            format!(
                "expected a number with KiB, MiB, GiB or TiB, {} MiB at least",
                least >> 20
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_and_is_not_too_small() {
        let size = |text| size(text, 1 << 20);
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("1048576"), Ok(1 << 20));
        assert_eq!(size("2 MiB"), Ok(2 << 20));
        for wrong in ["", "GiB", "1.5GiB", "-1GiB", "1000", "9999999TiB", "1GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
