//! JSON whose parts know where they stand in the file, and the list of what is wrong with it.
//!
//! `serde_json` does the parsing; its raw values borrow from the text, so their place is known.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Mistake, Problem, Problems};

/// A file being read, and the problems found so far.
pub(crate) struct Source<'t> {
    file: &'t str,
    text: &'t str,
    problems: Vec<Problem>,
}

/// A value in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'t> {
    raw: &'t str,
    /// Its first byte in the file.
    pub(crate) at: usize,
}

/// A string of the file, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Text<'t> {
    pub(crate) value: Cow<'t, str>,
    part: Part<'t>,
}

impl Text<'_> {
    pub(crate) const fn at(&self) -> usize {
        self.part.at
    }

    /// Where in the file the character at byte `index` of the decoded string stands.
    pub(crate) fn offset(&self, index: usize) -> usize {
        let (mut decoded, mut raw) = (0, 1);
        let text = self.part.raw;
        while decoded < index && raw < text.len() {
            let rest = &text.as_bytes()[raw..];
            (decoded, raw) = match rest {
                [b'\\', b'u', ..] => {
                    let unit = text.get(raw + 2..raw + 6);
                    let unit = unit.and_then(|hex| u32::from_str_radix(hex, 16).ok());
                    match unit.map(|unit| (unit, char::from_u32(unit))) {
                        Some((_, Some(character))) => (decoded + character.len_utf8(), raw + 6),
                        // The first half of a pair: both stand for one character of four bytes.
                        _ => (decoded + 4, raw + 12),
                    }
                }
                [b'\\', ..] => (decoded + 1, raw + 2),
                _ => (decoded + 1, raw + 1),
            };
        }
        self.part.at + raw
    }
}

/// The members of an object, in order.
pub(crate) type Members<'t> = Vec<(Text<'t>, Part<'t>)>;

/// The members of an object that has known keys.
pub(crate) struct Known<'t> {
    /// Its first byte in the file.
    pub(crate) at: usize,
    what: &'static str,
    members: Members<'t>,
}

impl<'t> Known<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<Part<'t>> {
        self.members
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(_, part)| *part)
    }
}

impl<'t> Source<'t> {
    /// Starts to read `bytes`, at most `most` of them.
    pub(crate) fn open(file: &'t str, bytes: &'t [u8], most: usize) -> Result<Self, Problems> {
        let mut source = Self {
            file,
            text: "",
            problems: Vec::new(),
        };
        if bytes.len() > most {
            let reason = format!("the file is larger than {most} bytes");
            return Err(source.finish_with(Mistake::new(0, reason)));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => source.text = text,
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                source.text = std::str::from_utf8(valid).unwrap_or_default();
                return Err(source.finish_with(Mistake::new(valid.len(), "the file is not UTF-8")));
            }
        }
        if source.text.trim().is_empty() {
            return Err(source.finish_with(Mistake::new(0, "the file is empty")));
        }
        Ok(source)
    }

    /// The value that the whole file is.
    pub(crate) fn root(&self) -> Result<Part<'t>, Problems> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(raw) => Ok(self.part(raw)),
            Err(error) => {
                let text = error.to_string();
                let reason = text.split(" at line ").next().unwrap_or_default();
                Err(Problems(vec![Problem {
                    file: self.file.to_owned(),
                    line: error.line(),
                    column: error.column().max(1),
                    reason: format!("not valid JSON: {reason}"),
                    nearest: None,
                }]))
            }
        }
    }

    /// The problems, if there are any.
    pub(crate) fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(self.problems))
        }
    }

    fn finish_with(mut self, mistake: Mistake) -> Problems {
        self.mistake(mistake);
        Problems(self.problems)
    }

    /// Notes what is wrong at a byte of the file.
    pub(crate) fn mistake(&mut self, mistake: Mistake) {
        self.problems
            .push(mistake.at_offset(self.file, self.text, |offset| offset));
    }

    /// Notes what is wrong at a byte of a string.
    pub(crate) fn mistake_in(&mut self, text: &Text<'_>, mistake: Mistake) {
        self.problems
            .push(mistake.at_offset(self.file, self.text, |index| text.offset(index)));
    }

    /// Line and column of a byte of the file.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let problem = Mistake::new(at, "").at_offset(self.file, self.text, |offset| offset);
        (problem.line, problem.column)
    }

    /// As [`Self::mistake`], for use as a result.
    pub(crate) fn refuse<T>(&mut self, at: usize, reason: impl Into<String>) -> Option<T> {
        self.mistake(Mistake::new(at, reason));
        None
    }

    fn part(&self, raw: &'t RawValue) -> Part<'t> {
        let raw = raw.get();
        // Raw values borrow from the text.
        Part {
            raw,
            at: raw
                .as_ptr()
                .addr()
                .saturating_sub(self.text.as_ptr().addr()),
        }
    }

    /// The members of an object; each key at most once.
    pub(crate) fn object(&mut self, part: Part<'t>) -> Option<Members<'t>> {
        let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs<'t>>(part.raw) else {
            return self.wrong_type(part, "an object");
        };
        let mut members = Members::new();
        let mut seen = BTreeSet::new();
        for (key, value) in pairs {
            let key = self.string(self.part(key))?;
            if seen.insert(key.value.clone()) {
                members.push((key, self.part(value)));
            } else {
                let reason = format!("the key `{}` is there twice", key.value);
                self.mistake(Mistake::new(key.at(), reason));
            }
        }
        Some(members)
    }

    /// An object that has no other than these keys; `what` is its name in errors.
    pub(crate) fn known(
        &mut self,
        part: Part<'t>,
        what: &'static str,
        keys: &[&str],
    ) -> Option<Known<'t>> {
        let members = self.object(part)?;
        for (key, _) in &members {
            if !keys.contains(&&*key.value) {
                let reason = format!("unknown key `{}` in {what}", key.value);
                let keys = keys.iter().copied();
                self.mistake(Mistake::unknown(key.at(), reason, &key.value, keys));
            }
        }
        Some(Known {
            at: part.at,
            what,
            members,
        })
    }

    /// A member that must be there.
    pub(crate) fn required(&mut self, known: &Known<'t>, key: &str) -> Option<Part<'t>> {
        let part = known.get(key);
        if part.is_none() {
            let reason = format!("{} needs the key `{key}`", known.what);
            self.mistake(Mistake::new(known.at, reason));
        }
        part
    }

    /// A string that may be there.
    pub(crate) fn optional_string(&mut self, known: &Known<'t>, key: &str) -> Option<String> {
        let part = known.get(key)?;
        self.string(part).map(|text| text.value.into_owned())
    }

    /// The elements of an array.
    pub(crate) fn array(&mut self, part: Part<'t>) -> Option<Vec<Part<'t>>> {
        match serde_json::from_str::<Vec<&'t RawValue>>(part.raw) {
            Ok(elements) => Some(elements.into_iter().map(|raw| self.part(raw)).collect()),
            Err(_) => self.wrong_type(part, "an array"),
        }
    }

    /// A string.
    pub(crate) fn string(&mut self, part: Part<'t>) -> Option<Text<'t>> {
        if !part.raw.starts_with('"') {
            return self.wrong_type(part, "a string");
        }
        match serde_json::from_str::<String>(part.raw) {
            Ok(value) => Some(Text {
                value: value.into(),
                part,
            }),
            Err(_) => self.refuse(part.at, "the string has an invalid escape"),
        }
    }

    /// An array of strings.
    pub(crate) fn strings(&mut self, part: Part<'t>) -> Option<Vec<Text<'t>>> {
        let elements = self.array(part)?;
        let strings: Vec<_> = elements.into_iter().map(|part| self.string(part)).collect();
        strings.into_iter().collect()
    }

    /// A number from 1 up.
    pub(crate) fn count(&mut self, part: Part<'t>) -> Option<u32> {
        match serde_json::from_str::<u32>(part.raw) {
            Ok(number) if number > 0 => Some(number),
            _ => self.wrong_type(part, "a whole number from 1"),
        }
    }

    /// A number in a range.
    pub(crate) fn within(&mut self, part: Part<'t>, range: &RangeInclusive<i32>) -> Option<i32> {
        match serde_json::from_str::<i32>(part.raw) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = (range.start(), range.end());
                self.wrong_type(part, &format!("a whole number from {least} to {most}"))
            }
        }
    }

    /// Whether it is an object.
    pub(crate) fn is_object(part: Part<'t>) -> bool {
        part.raw.starts_with('{')
    }

    /// Whether it is `null`.
    pub(crate) fn is_null(part: Part<'t>) -> bool {
        part.raw == "null"
    }

    /// Any value, without places.
    pub(crate) fn value(&mut self, part: Part<'t>) -> Option<serde_json::Value> {
        match serde_json::from_str(part.raw) {
            Ok(value) => Some(value),
            Err(error) => self.refuse(part.at, format!("not valid JSON: {error}")),
        }
    }

    fn wrong_type<T>(&mut self, part: Part<'_>, expected: &str) -> Option<T> {
        let found = match part.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a bool",
            Some(b'n') => "null",
            _ => part.raw,
        };
        self.refuse(part.at, format!("expected {expected}, found {found}"))
    }
}

/// An object's keys and values as they stand in the text.
struct Pairs<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_know_their_place() {
        let text = "{\"a\": [1, \"x\\n\\u00e9\\ud83d\\ude00é!\"]}";
        let mut source = Source::open("f", text.as_bytes(), 100).unwrap();
        let root = source.root().unwrap();
        let members = source.object(root).unwrap();
        assert_eq!((members[0].0.at(), members[0].1.at), (1, 6));
        let elements = source.array(members[0].1).unwrap();
        let string = source.string(elements[1]).unwrap();
        assert_eq!(string.value, "x\n\u{e9}\u{1f600}é!");
        let bang = string.value.find('!').unwrap();
        assert_eq!(string.offset(bang), text.find('!').unwrap());
        assert_eq!(string.offset(1), text.find("\\n").unwrap());
    }

    #[test]
    fn bad_files_are_one_line() {
        let problem = |bytes: &[u8]| {
            let problems = match Source::open("f", bytes, 20) {
                Ok(source) => source.root().unwrap_err(),
                Err(problems) => problems,
            };
            problems.to_string()
        };
        assert_eq!(problem(b""), "f:1:1: the file is empty");
        assert_eq!(
            problem(&[b' '; 21]),
            "f:1:1: the file is larger than 20 bytes"
        );
        assert_eq!(problem(b"{\n \xff}"), "f:2:2: the file is not UTF-8");
        assert_eq!(
            problem(b"{\"a\":\n 1,}"),
            "f:2:4: not valid JSON: key must be a string"
        );
        assert_eq!(
            problem(b"{} x"),
            "f:1:4: not valid JSON: trailing characters"
        );
    }
}
