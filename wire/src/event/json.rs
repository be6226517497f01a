//! An event's JSON, byte for byte as `serde_json` writes it, with a third fewer instructions: names of fields are written
//! as they are, and a text that needs no escaping is looked at eight bytes at a time and copied.

use std::fmt::Display;

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple,
    Serializer,
};
use serde_json::{Error, Result};

/// What `serde_json` calls the structure that a `RawValue` is serialised as: its one field is JSON already.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Appends `value` to `out`.
///
/// # Errors
/// For what no event has: floating-point numbers, bytes, variants that hold something, and maps whose keys are no strings.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    value.serialize(Writer { out, is_raw: false })
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// What comes is a string of JSON.
    is_raw: bool,
}

/// The inside of an object or an array.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
    is_raw: bool,
}

/// What no event has is not written: its type's tests say so.
fn refused<T>(what: &str) -> Result<T> {
    Err(Error::custom(format_args!("no event has {what}")))
}

/// As `"text"`.
fn string(out: &mut Vec<u8>, text: &str) -> Result<()> {
    if !is_plain(text.as_bytes()) {
        return serde_json::to_writer(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Whether nothing in it has to be escaped (RFC 8259, section 7), eight bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = EACH << 7;
    // The highest bit of a byte is then set where the lowest byte is that is less than `limit`; above it a borrow may set
    // others, which makes no difference: there is one.
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word;
    let (words, rest) = text.as_chunks::<8>();
    words.iter().all(|bytes| {
        let word = u64::from_ne_bytes(*bytes);
        let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
        (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGHEST == 0
    }) && !rest
        .iter()
        .any(|byte| matches!(byte, ..0x20 | b'"' | b'\\'))
}

fn digits(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

impl<'o> Writer<'o> {
    fn members(self, opening: u8, is_raw: bool) -> Members<'o> {
        if !is_raw {
            self.out.push(opening);
        }
        Members {
            out: self.out,
            is_first: true,
            is_raw,
        }
    }
}

impl<'o> Members<'o> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let Self { out, is_raw, .. } = self;
        value.serialize(Writer {
            out,
            is_raw: *is_raw,
        })
    }

    fn close(self, closing: u8) {
        if !self.is_raw {
            self.out.push(closing);
        }
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, number: $type) -> Result<()> {
            digits(self.out, number);
            Ok(())
        })*
    };
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'o>;
    type SerializeTuple = Members<'o>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Members<'o>;
    type SerializeStruct = Members<'o>;
    type SerializeStructVariant = Impossible<(), Error>;

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<()> {
        refused("a floating-point number")
    }

    fn serialize_f64(self, _: f64) -> Result<()> {
        refused("a floating-point number")
    }

    fn serialize_char(self, value: char) -> Result<()> {
        string(self.out, value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<()> {
        if self.is_raw {
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        string(self.out, text)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        string(self.out, &value.to_string())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<()> {
        refused("bytes")
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        string(self.out, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<()> {
        refused("a variant that holds something")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'o>> {
        Ok(self.members(b'[', false))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'o>> {
        Ok(self.members(b'[', false))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct> {
        refused("a tuple with a name")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        refused("a variant that holds something")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'o>> {
        Ok(self.members(b'{', false))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Members<'o>> {
        Ok(self.members(b'{', name == RAW_VALUE))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        refused("a variant that holds something")
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.separate();
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close(b']');
        Ok(())
    }
}

impl SerializeTuple for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<()> {
        SerializeSeq::end(self)
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.separate();
        let start = self.out.len();
        self.value(key)?;
        if self.out.get(start) != Some(&b'"') {
            return refused("a map whose keys are no strings");
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(b':');
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close(b'}');
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<()> {
        if !self.is_raw {
            // One room for all of it; a field's name has nothing to escape.
            self.out.reserve(key.len() + 4);
            self.separate();
            self.out.push(b'"');
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
        }
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rendered;
    use proptest::prelude::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Serialize)]
    enum Kind {
        #[serde(rename = "a kind")]
        Unit,
    }

    #[derive(Debug, Serialize)]
    struct Part {
        #[serde(rename = "@text")]
        text: String,
        letter: char,
        signed: i64,
        unsigned: u64,
        yes: bool,
        pair: (u8, Option<i32>),
        list: Vec<String>,
        map: BTreeMap<String, Vec<u16>>,
        kind: Kind,
        address: std::net::IpAddr,
    }

    #[derive(Debug, Serialize)]
    struct Whole {
        #[serde(flatten)]
        part: Part,
        nothing: (),
        raw: Rendered<BTreeMap<String, u8>>,
    }

    fn whole() -> impl Strategy<Value = Whole> {
        let text = "(\\PC|[\"\\\\\n\t\u{0}\u{1f}\u{7f}\u{2028}é]){0,40}";
        let map = proptest::collection::btree_map(
            text,
            proptest::collection::vec(any::<u16>(), 0..3),
            0..3,
        );
        let list = proptest::collection::vec(text, 0..3);
        let numbers = (
            any::<i64>(),
            any::<u64>(),
            any::<bool>(),
            any::<(u8, Option<i32>)>(),
        );
        let rest = (
            any::<char>(),
            any::<std::net::IpAddr>(),
            proptest::collection::btree_map(text, any::<u8>(), 0..3),
        );
        (text, list, map, numbers, rest).prop_map(
            |(text, list, map, numbers, (letter, address, raw))| {
                let (signed, unsigned, yes, pair) = numbers;
                let part = Part {
                    text,
                    letter,
                    signed,
                    unsigned,
                    yes,
                    pair,
                    list,
                    map,
                    kind: Kind::Unit,
                    address,
                };
                Whole {
                    part,
                    nothing: (),
                    raw: Rendered::new(raw),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn it_writes_what_serde_json_writes(whole in whole()) {
            let mut out = b"before ".to_vec();
            write(&whole, &mut out).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("before {}", serde_json::to_string(&whole).unwrap()));
        }
    }

    #[test]
    fn what_no_event_has_is_refused() {
        fn error<T: Serialize>(value: T) -> String {
            write(&value, &mut Vec::new()).unwrap_err().to_string()
        }
        assert_eq!(error(1.5), "no event has a floating-point number");
        assert_eq!(
            error(BTreeMap::from([(1, 2)])),
            "no event has a map whose keys are no strings"
        );
        assert_eq!(
            error(Ok::<u8, u8>(1)),
            "no event has a variant that holds something"
        );
    }
}
