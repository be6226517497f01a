//! Bytes as the kernel has them → text as events show it.
//!
//! Names of files are any bytes but NUL and slash. What is UTF-8 is shown as it is; each byte that is
//! not is shown as `\xNN`, in lower case. A path must not be taken for another one, so in paths
//! ([`path`]) a backslash that a reader would take for the beginning of such an escape is itself shown
//! as `\x5c`: no two paths have the same text, and [`path_bytes`] finds the way back. Everything else
//! ([`lossy`]) keeps its backslashes.

use std::borrow::Cow;

use arrayvec::ArrayString;

/// The text of a path; of each path its own.
#[must_use]
pub fn path(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if next_escape(text.as_bytes(), 0).is_none() => Cow::Borrowed(text),
        _ => shown(bytes, true).into(),
    }
}

/// The text of anything else: names, arguments.
#[must_use]
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => shown(bytes, false).into(),
    }
}

/// Appends `number` as lower-case hexadecimal digits, at least `width` of them.
///
/// # Panics
/// Where it has no room.
pub fn push_hexadecimal<const ROOM: usize>(text: &mut ArrayString<ROOM>, number: u64, width: u32) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(width);
    for place in (0..digits).rev() {
        let digit = number.checked_shr(4 * place).unwrap_or(0) & 0xf;
        text.push(char::from(b"0123456789abcdef"[digit as usize]));
    }
}

/// The path that has this text; `None` when there is none, as for the escapes of what is UTF-8.
#[must_use]
pub fn path_bytes(text: &str) -> Option<Cow<'_, [u8]>> {
    let text = text.as_bytes();
    let Some(first) = next_escape(text, 0) else {
        return Some(Cow::Borrowed(text));
    };
    let (mut bytes, mut done, mut next) = (Vec::new(), 0, Some(first));
    while let Some((at, byte)) = next {
        bytes.extend_from_slice(&text[done..at]);
        bytes.push(byte);
        done = at + ESCAPE_BYTES;
        next = next_escape(text, done);
    }
    bytes.extend_from_slice(&text[done..]);
    (path(&bytes).as_bytes() == text).then_some(Cow::Owned(bytes))
}

/// Whether a path begins with the bytes of `prefix` exactly where its text begins with `prefix`: not
/// so when it has an escape in it, or ends in what may be the beginning of one.
#[must_use]
pub fn is_plain_prefix(prefix: &str) -> bool {
    let bytes = prefix.as_bytes();
    let is_open = match bytes {
        [.., b'\\'] | [.., b'\\', b'x'] => true,
        [.., b'\\', b'x', last] => digit(*last).is_some(),
        _ => false,
    };
    !is_open && next_escape(bytes, 0).is_none()
}

/// Whether a path ends in the bytes of `suffix` exactly where its text ends in `suffix`: not so when it has a
/// backslash in it, or begins with what may be the end of an escape.
#[must_use]
pub fn is_plain_suffix(suffix: &str) -> bool {
    let bytes = suffix.as_bytes();
    let is_open = matches!(bytes, [first, ..] if *first == b'x' || digit(*first).is_some());
    !is_open && !bytes.contains(&b'\\')
}

/// Bytes of `\xNN`.
const ESCAPE_BYTES: usize = 4;

/// Where the next escape from `from` on begins, and the byte that it stands for: one that is not
/// ASCII, or the backslash.
fn next_escape(text: &[u8], from: usize) -> Option<(usize, u8)> {
    let byte = |escape: &[u8; ESCAPE_BYTES]| {
        let &[b'\\', b'x', high, low] = escape else {
            return None;
        };
        let byte = digit(high)? << 4 | digit(low)?;
        (byte >= 0x80 || byte == b'\\').then_some(byte)
    };
    let mut at = from;
    loop {
        let rest = text.get(at..)?;
        at += rest.iter().position(|byte| *byte == b'\\')?;
        if let Some(byte) = byte(text[at..].first_chunk()?) {
            return Some((at, byte));
        }
        at += 1;
    }
}

/// A hexadecimal digit in lower case.
const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn shown(bytes: &[u8], reversible: bool) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let mut done = 0;
        if reversible {
            while let Some((at, _)) = next_escape(valid.as_bytes(), done) {
                text.push_str(&valid[done..at]);
                text.push_str(r"\x5c");
                done = at + 1;
            }
        }
        text.push_str(&valid[done..]);
        for byte in chunk.invalid() {
            text.push_str(r"\x");
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_and_the_rest_is_escaped() {
        let same: [(&[u8], &str); 9] = [
            (b"/etc/passwd", "/etc/passwd"),
            ("/ü/\u{fffd}".as_bytes(), "/ü/\u{fffd}"),
            (b"/caf\xe9", r"/caf\xe9"),
            (b"/\xc3\xa9\xc3", r"/é\xc3"),
            // systemd's names for units stay, unless they escape what is not ASCII.
            (br"/dev-disk-by\x2dlabel", r"/dev-disk-by\x2dlabel"),
            (br"/\xff", r"/\x5cxff"),
            (br"/\x5cxff", r"/\x5cx5cxff"),
            (b"/\\\xff", r"/\\xff"),
            (br"/\xFF", r"/\xFF"),
        ];
        for (bytes, text) in same {
            assert_eq!(path(bytes), text);
            assert_eq!(path_bytes(text).unwrap(), bytes);
        }
        assert_eq!(lossy(br"echo \xff"), r"echo \xff");
        assert_eq!(lossy(b"echo \xff"), r"echo \xff");
        // What is UTF-8 is never shown so.
        assert_eq!(path_bytes(r"/\xc3\xa9"), None);
        assert_eq!(path_bytes(r"/\x5cx2d"), None);
    }

    /// Bytes among which escapes, and what looks like them, are frequent.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&[u8]> = vec![
            b"\\", b"x", b"5c", b"\\x5c", b"\\xff", b"\\xc3", b"\xff", b"\xc3", b"\xa9", b"a", b"/",
        ];
        let piece = proptest::sample::select(pieces);
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_path_has_one_text_and_a_text_one_path(a in bytes(), b in bytes()) {
            let (one, other) = (path(&a), path(&b));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(path_bytes(&one).map(Cow::into_owned), Some(a));
            // Any text, too, has at most one.
            let text = lossy(&b);
            if let Some(bytes) = path_bytes(&text) {
                prop_assert_eq!(path(&bytes).into_owned(), text.clone().into_owned());
            }
        }

        #[test]
        fn plain_prefixes_are_prefixes_of_both(a in bytes(), b in bytes()) {
            let prefix = lossy(&b);
            if is_plain_prefix(&prefix) {
                prop_assert_eq!(a.starts_with(prefix.as_bytes()), path(&a).starts_with(&*prefix));
            }
        }

        #[test]
        fn plain_suffixes_are_suffixes_of_both(a in bytes(), b in bytes()) {
            let suffix = lossy(&b);
            if is_plain_suffix(&suffix) {
                prop_assert_eq!(a.ends_with(suffix.as_bytes()), path(&a).ends_with(&*suffix));
            }
        }

        #[test]
        fn any_bytes_come_back(a in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = path(&a);
            prop_assert_eq!(path_bytes(&text).map(Cow::into_owned), Some(a.clone()));
        }
    }
}
