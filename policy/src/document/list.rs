//! Lists in files: one entry on each line.

use super::MAX_LIST_BYTES;

/// The entries: lines without the blanks around them; empty lines and those that begin with `#` are none.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<String>, String> {
    if bytes.len() > MAX_LIST_BYTES {
        return Err(format!("it has more than {} MiB", MAX_LIST_BYTES >> 20));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8")
    })?;
    let lines = text.lines().map(str::trim);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(entries.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_lines_that_say_something() {
        let list = parse(b"# hosts\r\n\n 192.0.2.1 \r\n2001:db8::1").unwrap();
        assert_eq!(list, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(parse(b"").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_text_or_too_much_is_refused() {
        assert_eq!(parse(b"a\nb\xff\n").unwrap_err(), "line 2 is not UTF-8");
        let error = parse(&vec![b'#'; MAX_LIST_BYTES + 1]).unwrap_err();
        assert_eq!(error, "it has more than 16 MiB");
    }
}
