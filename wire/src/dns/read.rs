//! Reading integers, names and texts of a message.

/// Bytes of a name, at most (RFC 1035, 2.3.4).
pub(super) const NAME: usize = 255;
/// Jumps that a name takes, at most; each goes back, so it would end without this.
const JUMPS: usize = 32;

/// A message, and how far it is read. Names point to what came before them, so all of it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// The next `length` bytes as something to be read by itself; this goes on behind them.
    pub(super) fn part(&mut self, length: usize) -> Option<Self> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let part = Self { end, ..*self };
        self.at = end;
        Some(part)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let rest = self.bytes.get(self.at..self.end)?;
        let array = rest.first_chunk()?;
        self.at += LENGTH;
        Some(*array)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A name: labels, or labels and where the rest of them is (RFC 1035, 4.1.4).
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut length = 0;
        let mut cursor = *self;
        let mut behind = None;
        for _ in 0..=JUMPS {
            // Labels up to the end or to a jump; their length bounds their number.
            let jump = loop {
                let first = cursor.byte()?;
                match first {
                    0 => break None,
                    1..=63 => {
                        let mut label = cursor.part(usize::from(first))?;
                        length += usize::from(first) + 1;
                        if length > NAME {
                            return None;
                        }
                        if !name.is_empty() {
                            name.push('.');
                        }
                        while let Some(byte) = label.byte() {
                            push_escaped(&mut name, byte.to_ascii_lowercase(), b'.');
                        }
                    }
                    0xc0.. => {
                        let low = cursor.byte()?;
                        break Some(usize::from(first & 0x3f) << 8 | usize::from(low));
                    }
                    64..=0xbf => return None,
                }
            };
            let here = behind.get_or_insert(cursor.at);
            let Some(target) = jump else {
                self.at = *here;
                if name.is_empty() {
                    name.push('.');
                }
                return Some(name);
            };
            // Back from where this jump stands, so there is an end.
            if target + 2 >= cursor.at {
                return None;
            }
            cursor = Self {
                at: target,
                end: cursor.at - 2,
                ..cursor
            };
        }
        None
    }

    /// All that is left as character strings (RFC 1035, 3.3), one behind the other.
    pub(super) fn texts(&mut self) -> String {
        let mut text = String::new();
        while let Some(length) = self.byte() {
            let Some(mut part) = self.part(usize::from(length)) else {
                break;
            };
            while let Some(byte) = part.byte() {
                push_escaped(&mut text, byte, b'"');
            }
        }
        text
    }
}

/// Appends a byte as zone files show it (RFC 1035, 5.1): `\DDD` for what is not printable, a backslash
/// before `special` and before a backslash. A space is printable in texts and not in names.
fn push_escaped(text: &mut String, byte: u8, special: u8) {
    match byte {
        b'\\' => text.push_str("\\\\"),
        _ if byte == special => {
            text.push('\\');
            text.push(char::from(byte));
        }
        0x21..=0x7e => text.push(char::from(byte)),
        b' ' if special == b'"' => text.push(' '),
        _ => text.push_str(&format!("\\{byte:03}")),
    }
}
