//! DNS messages as they are on the wire (RFC 1035): bytes that anybody may have sent → what they say,
//! as far as it goes. Bounds are checked; nothing is trusted. A message that is cut gives what is there.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

mod names;
mod read;

use read::Reader;

/// Answers that are looked at, at most: more than a message of the size that is read can have.
const ANSWERS: u16 = 64;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number, by which an answer belongs to a question.
    pub id: u16,
    /// `QUERY`, `UPDATE`, …
    pub op_code: Cow<'static, str>,
    /// `NOERROR`, `NXDOMAIN`, …; `NOERROR` in a question.
    pub response_code: Cow<'static, str>,
    /// The first question; messages have one.
    pub question: Option<Question>,
    /// The answers, in order.
    pub answers: Vec<Answer>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without the dot at its end; `.` for the root.
    pub name: String,
    /// `A`, `AAAA`, …
    pub record_type: Cow<'static, str>,
    /// `IN`
    pub class: Cow<'static, str>,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whom it is about, as [`Question::name`].
    pub name: String,
    /// `A`, `CNAME`, …
    pub record_type: Cow<'static, str>,
    /// Seconds for which it holds.
    pub ttl: u32,
    /// An address, a name or a text; `None` for other types.
    pub data: Option<String>,
}

impl Answer {
    /// The address, of a record that is one.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        let is_address = matches!(&*self.record_type, "A" | "AAAA");
        self.data.as_deref().filter(|_| is_address)
    }
}

/// Reads a message; `None` for what is too short to be one. `framed`: it may stand behind its length,
/// as by TCP (RFC 1035, 4.2.2).
#[must_use]
pub fn parse(bytes: &[u8], framed: bool) -> Option<Message> {
    let bytes = if framed { unframed(bytes) } else { bytes };
    let mut reader = Reader::new(bytes);
    let id = reader.short()?;
    let flags = reader.short()?;
    let [questions, answers, _, _] = [
        reader.short()?,
        reader.short()?,
        reader.short()?,
        reader.short()?,
    ];
    let mut message = Message {
        id,
        op_code: names::op_code(flags >> 11 & 0xf),
        response_code: names::response_code(flags & 0xf),
        question: None,
        answers: Vec::new(),
    };
    if questions > 0 {
        message.question = question(&mut reader);
    }
    // Behind a question that could not be read, or behind a second one, nothing can be found.
    if questions == 0 || questions == 1 && message.question.is_some() {
        let some = (0..answers.min(ANSWERS)).map_while(|_| answer(&mut reader));
        message.answers.extend(some);
    }
    Some(message)
}

/// Takes off the length, where there is one: it may have been sent by itself, and a number of a message
/// looks like any length. Messages have one question, which tells where their header is.
fn unframed(bytes: &[u8]) -> &[u8] {
    let Some((prefix, rest)) = bytes.split_first_chunk::<2>() else {
        return bytes;
    };
    let has_one_question = |header: &[u8]| header.get(4..6) == Some(&[0, 1]);
    let length = usize::from(u16::from_be_bytes(*prefix));
    let is_framed = length == rest.len() || !has_one_question(bytes) && has_one_question(rest);
    if is_framed {
        // Of a message that is cut, less is there; behind one that is not, there may be another.
        &rest[..length.min(rest.len())]
    } else {
        bytes
    }
}

fn question(reader: &mut Reader<'_>) -> Option<Question> {
    Some(Question {
        name: reader.name()?,
        record_type: names::record_type(reader.short()?),
        class: names::class(reader.short()?),
    })
}

fn answer(reader: &mut Reader<'_>) -> Option<Answer> {
    let name = reader.name()?;
    let record_type = reader.short()?;
    reader.short()?;
    let ttl = reader.long()?;
    let length = usize::from(reader.short()?);
    let data = data(reader, record_type, length)?;
    Some(Answer {
        name,
        record_type: names::record_type(record_type),
        ttl,
        data,
    })
}

/// What a record of this type says in `length` bytes; `None` when they are not all there.
#[allow(clippy::option_option)] // Cut is not the same as of a type that is not shown.
fn data(reader: &mut Reader<'_>, record_type: u16, length: usize) -> Option<Option<String>> {
    let mut inner = reader.part(length)?;
    Some(match record_type {
        names::A => inner
            .array::<4>()
            .map(|bytes| Ipv4Addr::from(bytes).to_string()),
        names::AAAA => inner
            .array::<16>()
            .map(|bytes| Ipv6Addr::from(bytes).to_string()),
        names::NS | names::CNAME | names::PTR => inner.name(),
        names::MX => inner
            .short()
            .and_then(|preference| Some(format!("{preference} {}", inner.name()?))),
        names::TXT => Some(inner.texts()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The answer of a name server to `Example.COM A`: an alias, and two addresses of it.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
        bytes.extend(b"\x07Example\x03COM\0\0\x01\0\x01");
        // `www` before the name at 12.
        bytes.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03www\xc0\x0c");
        bytes.extend(b"\xc0\x29\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        bytes.extend(b"\xc0\x29\0\x1c\0\x01\0\0\0\x3c\0\x10");
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes
    }

    #[test]
    fn an_answer_is_read() {
        let message = parse(&sample(), false).unwrap();
        assert_eq!(message.id, 0x1234);
        assert_eq!(message.op_code, "QUERY");
        assert_eq!(message.response_code, "NOERROR");
        let question = message.question.as_ref().unwrap();
        assert_eq!(question.name, "example.com");
        assert_eq!((&*question.record_type, &*question.class), ("A", "IN"));
        let shown: Vec<(&str, &str, Option<&str>)> = message
            .answers
            .iter()
            .map(|it| (&*it.name, &*it.record_type, it.data.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("example.com", "CNAME", Some("www.example.com")),
                ("www.example.com", "A", Some("192.0.2.1")),
                ("www.example.com", "AAAA", Some("::1")),
            ]
        );
        assert_eq!(message.answers[1].address(), Some("192.0.2.1"));
        assert_eq!(message.answers[0].address(), None);
    }

    #[test]
    fn a_cut_message_gives_what_is_there() {
        let whole = sample();
        assert_eq!(parse(&whole[..11], false), None);
        assert_eq!(parse(&whole[..20], false).unwrap().question, None);
        let cut = parse(&whole[..60], false).unwrap();
        assert!(cut.question.is_some());
        assert_eq!(cut.answers.len(), 1);
    }

    #[test]
    fn a_length_is_taken_off_where_there_is_one() {
        let whole = sample();
        let mut framed = (whole.len() as u16).to_be_bytes().to_vec();
        framed.extend(&whole);
        let expected = parse(&whole, false);
        assert_eq!(parse(&framed, true), expected);
        assert_eq!(parse(&whole, true), expected);
        framed.extend([0; 20]);
        assert_eq!(parse(&framed, true), expected);
        let cut = parse(&framed[..60], true).unwrap();
        assert_eq!(cut.question, expected.unwrap().question);
    }

    #[test]
    fn other_records_are_read() {
        let with = |kind: u16, data: &[u8]| {
            let mut bytes = vec![0, 1, 0x80, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0];
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 9]);
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
            let message = parse(&bytes, false).unwrap();
            assert_eq!(message.response_code, "NXDOMAIN");
            assert_eq!(
                (&*message.answers[0].name, message.answers[0].ttl),
                (".", 9)
            );
            let answer = message.answers[0].clone();
            (answer.record_type.into_owned(), answer.data)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(with(15, b"\0\x0a\x01a\0"), ("MX".to_owned(), text("10 a")));
        assert_eq!(
            with(16, b"\x02a\"\x01\n"),
            ("TXT".to_owned(), text("a\\\"\\010"))
        );
        assert_eq!(with(1, b"\x01"), ("A".to_owned(), None));
        assert_eq!(with(999, b"\x01"), ("TYPE999".to_owned(), None));
    }

    #[test]
    fn names_that_point_in_circles_end() {
        for name in [&b"\xc0\x0c"[..], b"\x01a\xc0\x0c", b"\xc0\x20", b"\x40"] {
            let mut bytes = vec![0; 12];
            bytes[5] = 1;
            bytes.extend(name);
            bytes.extend([0, 1, 0, 1]);
            assert_eq!(parse(&bytes, false).unwrap().question, None);
        }
    }

    #[test]
    fn what_a_name_may_not_have_is_escaped() {
        let mut bytes = vec![0; 12];
        bytes[5] = 1;
        bytes.extend(b"\x05A.\\ \xff\0\0\x10\0\x03");
        let question = parse(&bytes, false).unwrap().question.unwrap();
        assert_eq!(question.name, "a\\.\\\\\\032\\255");
        assert_eq!((&*question.record_type, &*question.class), ("TXT", "CH"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            framed: bool,
        ) {
            let _ = parse(&bytes, framed);
        }

        #[test]
        fn no_change_of_a_byte_makes_it_panic(at in 0usize..100, value in any::<u8>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Some(message) = parse(&bytes, false) {
                for answer in &message.answers {
                    prop_assert!(answer.name.len() <= 4 * read::NAME);
                }
            }
        }
    }
}
