//! A reader of the kernel's BTF (Documentation/bpf/btf.rst): just enough to find where a field of a
//! struct stands, through anonymous structs and unions, which parameter of a function has a name, what
//! the values of an enum are, and how a function is declared.

use std::fmt;

use crate::layout::Source;

const MAGIC: u16 = 0xeb9f;
/// Structs that are nested in each other without a name, at most.
const DEPTH: u32 = 16;
/// Modifiers and typedefs in front of a struct, at most.
const MODIFIERS: u32 = 16;
/// More than any kernel has (some 150,000): bounds memory on a corrupt file.
const TYPES: usize = 4_000_000;

/// What is wrong with a BTF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// It does not begin as BTF does.
    Magic,
    /// A part lies outside of the file.
    Bounds(usize),
    /// A kind that this reader does not know and that the file does not describe.
    Kind(u32),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a BTF file of this machine's byte order"),
            Self::Bounds(at) => write!(f, "BTF is cut short or corrupt at byte {at}"),
            Self::Kind(kind) => write!(f, "BTF has a type of unknown kind {kind}"),
        }
    }
}

impl std::error::Error for BtfError {}

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
/// What is looked for by name.
const INDEXED: [u32; 5] = [KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_TYPEDEF, KIND_FUNC];
/// `struct btf_param`: name and type.
const PARAMETER: usize = 8;
/// `struct btf_enum`: name and value.
const ENUMERATOR: usize = 8;

/// How a function is declared: types as C writes them, as in `const struct path *`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// What it returns.
    pub returns: String,
    /// What it takes, in order.
    pub parameters: Vec<String>,
}

/// A parsed BTF file.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    strings_end: usize,
    /// Where each type begins, by its id; the first is `void`.
    types: Vec<u32>,
    /// The types that are looked for by name: what their name hashes to, and their ids; in this order.
    index: Vec<(u32, u32)>,
}

/// `struct btf_type`
#[derive(Clone, Copy, Debug)]
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
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
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
            index: Vec::new(),
        };
        let mut at = types_start;
        while at < types_end && btf.types.len() < TYPES {
            let this = btf.type_at(at)?;
            if this.name != 0 && INDEXED.contains(&this.kind) {
                let id = btf.types.len() as u32;
                btf.index.push((hash(btf.string(this.name)), id));
            }
            btf.types.push(at as u32);
            at += ENTRY + btf.tail(&this, layout)?;
        }
        btf.index.sort_unstable();
        Ok(btf)
    }

    /// What stands for `source` on this kernel.
    #[must_use]
    pub fn find(&self, source: Source) -> Option<u32> {
        match source {
            Source::Field(structure, paths) => paths
                .split('|')
                .find_map(|path| self.offset_of(structure, path)),
            Source::Parameter(function, name) => self.parameter(function, name),
            Source::Value(of, name) => self.value(of, name),
        }
    }

    /// Number, from 0, of the parameter `name` of `function`.
    fn parameter(&self, function: &str, name: &str) -> Option<u32> {
        let prototype = self.prototype(self.named(KIND_FUNC, function)?.size_or_type)?;
        let index = self.position(&prototype, PARAMETER, name)?;
        u32::try_from(index).ok()
    }

    /// The value `name` of `enum of`.
    fn value(&self, of: &str, name: &str) -> Option<u32> {
        let of = self.named(KIND_ENUM, of)?;
        let index = self.position(&of, ENUMERATOR, name)?;
        word(&self.bytes, of.at + ENTRY + index * ENUMERATOR + 4).ok()
    }

    /// Which of a type's members, which have `size` bytes each and begin with their names, has this one.
    fn position(&self, this: &Type, size: usize, name: &str) -> Option<usize> {
        (0..this.members).find(|index| {
            let found = word(&self.bytes, this.at + ENTRY + size * index);
            found.is_ok_and(|found| self.string(found) == name.as_bytes())
        })
    }

    /// Byte offset of the field `path` (names joined by dots) in `struct structure`; of its end, which
    /// is its size, where `path` is empty.
    pub fn offset_of(&self, structure: &str, path: &str) -> Option<u32> {
        self.all_named(structure)
            .filter(|(_, this)| matches!(this.kind, KIND_STRUCT | KIND_UNION))
            .find_map(|(_, mut structure)| {
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

    /// The declaration of a function; `None` where there is none of this name, as for one that the
    /// compiler has changed or put into its callers.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Prototype> {
        self.declaration(self.named(KIND_FUNC, name)?.size_or_type)
    }

    /// What a tracepoint hands to raw programs, as a function that takes that
    /// (`DEFINE_EVENT` of `include/trace/bpf_probe.h`).
    #[must_use]
    pub fn tracepoint(&self, name: &str) -> Option<Prototype> {
        let typedef = self.named(KIND_TYPEDEF, &format!("btf_trace_{name}"))?;
        let pointer = self.by_id(typedef.size_or_type)?;
        let mut prototype = self.declaration(pointer.size_or_type)?;
        // The first is the probe's own.
        (!prototype.parameters.is_empty()).then(|| prototype.parameters.remove(0))?;
        Some(prototype)
    }

    /// The id by which `bpf(2)` knows a function (`attach_btf_id`).
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<u32> {
        let mut found = self.all_named(name);
        found.find_map(|(id, this)| (this.kind == KIND_FUNC).then_some(id))
    }

    /// The first type of this kind and name.
    fn named(&self, kind: u32, name: &str) -> Option<Type> {
        let mut found = self.all_named(name);
        found.find_map(|(_, this)| (this.kind == kind).then_some(this))
    }

    /// The types of this name and their ids, of the kinds that are looked for by name.
    fn all_named(&self, name: &str) -> impl Iterator<Item = (u32, Type)> {
        let name = name.as_bytes();
        let hash = hash(name);
        let start = self.index.partition_point(|(it, _)| *it < hash);
        let same = self.index[start..]
            .iter()
            .take_while(move |(it, _)| *it == hash);
        same.filter_map(move |(_, id)| {
            let this = self.by_id(*id)?;
            (self.string(this.name) == name).then_some((*id, this))
        })
    }

    fn prototype(&self, id: u32) -> Option<Type> {
        self.by_id(id).filter(|it| it.kind == KIND_FUNC_PROTO)
    }

    fn declaration(&self, id: u32) -> Option<Prototype> {
        let this = self.prototype(id)?;
        let parameter = |index| {
            let at = this.at + ENTRY + index * PARAMETER + 4;
            self.c_type(word(&self.bytes, at).ok()?, MODIFIERS)
        };
        Some(Prototype {
            returns: self.c_type(this.size_or_type, MODIFIERS)?,
            parameters: (0..this.members).map(parameter).collect::<Option<_>>()?,
        })
    }

    /// A type as C writes it; `None` for what no parameter is, and beyond `depth` parts.
    fn c_type(&self, id: u32, depth: u32) -> Option<String> {
        if id == 0 {
            return Some("void".to_owned());
        }
        let this = self.by_id(id).filter(|_| depth > 0)?;
        let name = || String::from_utf8_lossy(self.string(this.name));
        let inner = || self.c_type(this.size_or_type, depth - 1);
        Some(match this.kind {
            1 => c_integer(&name()).to_owned(),
            2 => {
                let to = inner()?;
                let space = if to.ends_with('*') { "" } else { " " };
                format!("{to}{space}*")
            }
            // A forward declaration is flagged where it is of a union.
            KIND_UNION => format!("union {}", name()),
            7 if this.flagged => format!("union {}", name()),
            KIND_STRUCT | 7 => format!("struct {}", name()),
            KIND_ENUM | 19 => format!("enum {}", name()),
            KIND_TYPEDEF | 16 => name().into_owned(),
            kind @ 9..=11 => {
                let (word, of) = (
                    ["volatile", "const", "restrict"][kind as usize - 9],
                    inner()?,
                );
                if of.ends_with('*') {
                    format!("{of}{word}")
                } else {
                    format!("{word} {of}")
                }
            }
            // To what a pointer to a function points.
            KIND_FUNC_PROTO => "function".to_owned(),
            // Type tags, as __user.
            18 => inner()?,
            _ => return None,
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
            KIND_ENUM => ENUMERATOR * this.members,
            KIND_FUNC_PROTO => PARAMETER * this.members,
            2 | 7..=KIND_FUNC | 16 | 18 => 0,
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

/// FNV-1a, of 32 bits.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The compiler's names for integers, which DWARF and from there BTF have, as people write them.
fn c_integer(name: &str) -> &str {
    match name {
        "long unsigned int" => "unsigned long",
        "long int" => "long",
        "long long unsigned int" => "unsigned long long",
        "long long int" => "long long",
        "short unsigned int" => "unsigned short",
        "short int" => "short",
        "_Bool" => "bool",
        name => name,
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

    /// struct outer { int first; struct { int hidden; }; struct inner named; }; struct inner { int x; };
    /// enum inner { x = 7 }; int first(const struct outer *x, int named)
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
            vec![at("inner"), kind(KIND_ENUM, 1), 4, at("x"), 7],
            vec![0, kind(10, 0), 4],
            vec![0, kind(2, 0), 6],
            vec![0, kind(KIND_FUNC_PROTO, 2), 1, at("x"), 7, at("named"), 1],
            vec![at("first"), kind(KIND_FUNC, 1), 8],
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
    fn fields_parameters_and_values_are_found_with_both_headers() {
        for header in [24, 32] {
            let btf = Btf::parse(sample(header)).unwrap();
            assert_eq!(btf.offset_of("outer", "first"), Some(0));
            assert_eq!(btf.offset_of("outer", "hidden"), Some(4));
            assert_eq!(btf.offset_of("outer", "named.x"), Some(8));
            assert_eq!(btf.offset_of("outer", "missing"), None);
            assert_eq!(btf.offset_of("nowhere", "first"), None);
            assert_eq!(btf.find(Source::Parameter("first", "named")), Some(1));
            assert_eq!(btf.find(Source::Parameter("first", "hidden")), None);
            assert_eq!(btf.find(Source::Field("outer", "old|hidden")), Some(4));
            assert_eq!(btf.find(Source::Parameter("inner", "x")), None);
            assert_eq!(btf.find(Source::Value("inner", "x")), Some(7));
            assert_eq!(btf.find(Source::Value("inner", "hidden")), None);
            assert_eq!(btf.function_id("first"), Some(9));
            assert_eq!(btf.function_id("inner"), None);
        }
    }

    #[test]
    fn functions_are_declared_as_c_writes_them() {
        let btf = Btf::parse(sample(24)).unwrap();
        let expected = Prototype {
            returns: "int".to_owned(),
            parameters: vec!["const struct outer *".to_owned(), "int".to_owned()],
        };
        assert_eq!(btf.function("first"), Some(expected));
        assert_eq!(btf.function("outer"), None);
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
        fn no_change_of_a_byte_makes_it_panic(at in 0usize..500, value in any::<u8>()) {
            let mut bytes = sample(24);
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.offset_of("outer", "named.x");
                let _ = btf.find(Source::Parameter("first", "x"));
                let _ = btf.find(Source::Value("inner", "x"));
                let _ = btf.function("first");
            }
        }
    }
}
