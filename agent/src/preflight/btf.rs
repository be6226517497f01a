//! A reader of the kernel's BTF (Documentation/bpf/btf.rst): just enough to find where a field of a
//! struct stands, through anonymous structs and unions.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
/// Structs that are nested in each other without a name, at most.
const DEPTH: u32 = 16;
/// Modifiers and typedefs in front of a struct, at most.
const MODIFIERS: u32 = 16;
/// More than any kernel has (some 150,000): bounds memory on a corrupt file.
const TYPES: usize = 4_000_000;

/// What is wrong with a BTF file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BtfError {
    /// It does not begin as BTF does.
    #[error("not a BTF file of this machine's byte order")]
    Magic,
    /// A part lies outside of the file.
    #[error("BTF is cut short or corrupt at byte {0}")]
    Bounds(usize),
    /// A kind that this reader does not know and that the file does not describe.
    #[error("BTF has a type of unknown kind {0}")]
    Kind(u32),
}

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// A parsed BTF file.
pub(crate) struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    strings_end: usize,
    /// Where each type begins, by its id; the first is `void`.
    types: Vec<u32>,
    /// Structs and unions by name.
    structs: HashMap<Vec<u8>, Vec<u32>>,
}

/// `struct btf_type`
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    /// Whether member offsets carry bit-field sizes.
    flagged: bool,
    members: usize,
    /// Size, or the type referred to.
    size_or_type: u32,
}

/// `struct btf_type` and `struct btf_member` have three words each.
const ENTRY: usize = 12;

impl Btf {
    /// Parses a whole file, such as `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError`] when it is not BTF, or corrupt.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if half(&bytes, 0)? != MAGIC {
            return Err(BtfError::Magic);
        }
        // The header's length is to be read, not assumed: 24 bytes up to 7.0, 32 from 7.1 on.
        let header = word(&bytes, 4)? as usize;
        let part = |at: usize| -> Result<(usize, usize), BtfError> {
            let start = header.checked_add(word(&bytes, at)? as usize);
            let length = word(&bytes, at + 4)? as usize;
            let end = start.and_then(|start| start.checked_add(length));
            match (start, end) {
                (Some(start), Some(end)) if end <= bytes.len() => Ok((start, end)),
                _ => Err(BtfError::Bounds(at)),
            }
        };
        let (types_start, types_end) = part(8)?;
        let (strings, strings_end) = part(16)?;
        let layout = if header >= 32 { part(24)? } else { (0, 0) };

        let mut btf = Self {
            bytes,
            strings,
            strings_end,
            types: vec![0],
            structs: HashMap::new(),
        };
        let mut at = types_start;
        while at < types_end && btf.types.len() < TYPES {
            let this = btf.type_at(at)?;
            if matches!(this.kind, KIND_STRUCT | KIND_UNION) {
                let id = btf.types.len() as u32;
                let name = btf.string(this.name).to_vec();
                btf.structs.entry(name).or_default().push(id);
            }
            btf.types.push(at as u32);
            at += ENTRY + btf.tail(&this, layout)?;
        }
        btf.structs.remove(&Vec::new());
        Ok(btf)
    }

    /// Byte offset of the field `path` (names joined by dots) in `struct structure`; of its end, which
    /// is its size, where `path` is empty.
    pub(crate) fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        self.structs
            .get(structure.as_bytes())?
            .iter()
            .find_map(|id| {
                let mut structure = self.by_id(*id)?;
                if path.is_empty() {
                    return Some(structure.size_or_type);
                }
                let mut bits = 0;
                let mut names = path.split('.').peekable();
                while let Some(name) = names.next() {
                    let (offset, member) = self.member(&structure, name.as_bytes(), DEPTH)?;
                    bits += offset;
                    if names.peek().is_some() {
                        structure = self.behind_modifiers(member)?;
                    }
                }
                bits.is_multiple_of(8).then_some(bits / 8)
            })
    }

    /// Bit offset and type id of a member.
    fn member(&self, structure: &Type, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        if depth == 0 || !matches!(structure.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..structure.members).find_map(|index| {
            let at = structure.at + ENTRY + index * ENTRY;
            let member_type = word(&self.bytes, at + 4).ok()?;
            let offset = word(&self.bytes, at + 8).ok()?;
            let offset = if structure.flagged {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            match self.string(word(&self.bytes, at).ok()?) {
                b"" => {
                    let inner = self.behind_modifiers(member_type)?;
                    let (inside, member_type) = self.member(&inner, name, depth - 1)?;
                    Some((offset + inside, member_type))
                }
                found if found == name => Some((offset, member_type)),
                _ => None,
            }
        })
    }

    fn behind_modifiers(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MODIFIERS {
            let this = self.by_id(id)?;
            match this.kind {
                // typedef, volatile, const, restrict, type tag
                8..=11 | 18 => id = this.size_or_type,
                _ => return Some(this),
            }
        }
        None
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        self.type_at(at as usize).ok()
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = word(&self.bytes, at + 4)?;
        Ok(Type {
            at,
            name: word(&self.bytes, at)?,
            kind: info >> 24 & 0x7f,
            flagged: info >> 31 == 1,
            members: (info & 0x00ff_ffff) as usize,
            size_or_type: word(&self.bytes, at + 8)?,
        })
    }

    /// Bytes behind a type's three words.
    fn tail(&self, this: &Type, layout: (usize, usize)) -> Result<usize, BtfError> {
        Ok(match this.kind {
            1 | 14 | 17 => 4,
            3 => 12,
            KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * this.members,
            6 | 13 => 8 * this.members,
            2 | 7..=12 | 16 | 18 => 0,
            kind => {
                // From 7.1 on the file describes its kinds: `struct btf_layout`, one per kind.
                let at = layout.0 + 4 * kind as usize;
                if at + 4 > layout.1 {
                    return Err(BtfError::Kind(kind));
                }
                let sizes = self.bytes.get(at..at + 2).ok_or(BtfError::Bounds(at))?;
                usize::from(sizes[0]) + usize::from(sizes[1]) * this.members
            }
        })
    }

    /// A string of the string section; empty where there is none.
    fn string(&self, offset: u32) -> &[u8] {
        let section = &self.bytes[self.strings..self.strings_end];
        let rest = section.get(offset as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found
        .map(|word| u32::from_ne_bytes(*word))
        .ok_or(BtfError::Bounds(at))
}

fn half(bytes: &[u8], at: usize) -> Result<u16, BtfError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    found
        .map(|half| u16::from_ne_bytes(*half))
        .ok_or(BtfError::Bounds(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// struct outer { int first; struct { int hidden; }; struct inner named; }; struct inner { int x; }
    fn sample(header: u32) -> Vec<u8> {
        let strings = b"\0int\0outer\0first\0hidden\0named\0inner\0x\0";
        let at = |name: &str| {
            strings
                .windows(name.len() + 1)
                .position(|w| &w[..name.len()] == name.as_bytes())
                .unwrap() as u32
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let words: Vec<u32> = [
            vec![at("int"), kind(1, 0), 4, 32],
            vec![at("inner"), kind(4, 1), 4, at("x"), 1, 0],
            vec![0, kind(4, 1), 4, at("hidden"), 1, 0],
            vec![
                at("outer"),
                kind(4, 3),
                12,
                at("first"),
                1,
                0,
                0,
                3,
                32,
                at("named"),
                2,
                64,
            ],
        ]
        .concat();
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        let length = 4 * words.len() as u32;
        for value in [header, 0, length, length, strings.len() as u32] {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.resize(header as usize, 0);
        words
            .iter()
            .for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn fields_are_found_through_anonymous_structs_and_dots_with_both_headers() {
        for header in [24, 32] {
            let btf = Btf::parse(sample(header)).unwrap();
            assert_eq!(btf.offset_of("outer", "first"), Some(0));
            assert_eq!(btf.offset_of("outer", "hidden"), Some(4));
            assert_eq!(btf.offset_of("outer", "named.x"), Some(8));
            assert_eq!(btf.offset_of("outer", "missing"), None);
            assert_eq!(btf.offset_of("nowhere", "first"), None);
        }
    }

    #[test]
    fn what_is_not_btf_is_said() {
        assert!(matches!(Btf::parse(vec![0; 64]), Err(BtfError::Magic)));
        let mut cut = sample(24);
        cut.truncate(60);
        assert!(matches!(Btf::parse(cut), Err(BtfError::Bounds(_))));
    }

    proptest! {
        #[test]
        fn no_change_of_a_byte_makes_it_panic(at in 0usize..200, value in any::<u8>()) {
            let mut bytes = sample(24);
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.offset_of("outer", "named.x");
            }
        }
    }
}
