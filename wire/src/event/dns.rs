//! `dns.*`, on `network.dns`.

use std::borrow::Cow;

use serde::Serialize;

use crate::dns::Message;

/// `dns.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Dns<'a> {
    /// `query` for what is sent to a name server, `answer` for what comes from one.
    #[serde(rename = "type")]
    pub direction: &'a str,
    /// Number of the message, as ECS wants it: a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `QUERY`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op_code: Option<Cow<'a, str>>,
    /// What is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<DnsQuestion<'a>>,
    /// Of an answer: `NOERROR`, `NXDOMAIN`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_code: Option<Cow<'a, str>>,
    /// The records of an answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<DnsAnswer<'a>>,
    /// All addresses in the answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved_ip: Vec<String>,
}

/// `dns.question.*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct DnsQuestion<'a> {
    /// In lower case, without the dot at its end.
    pub name: Cow<'a, str>,
    /// `A`, `AAAA`, …
    #[serde(rename = "type")]
    pub record_type: Cow<'a, str>,
    /// `IN`
    pub class: Cow<'a, str>,
}

/// `dns.answers[].*`
#[derive(Clone, Debug, Default, Serialize)]
pub struct DnsAnswer<'a> {
    /// Whom it is about.
    pub name: Cow<'a, str>,
    /// `A`, `CNAME`, …
    #[serde(rename = "type")]
    pub record_type: Cow<'a, str>,
    /// An address, a name or a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Cow<'a, str>>,
    /// Seconds for which it holds.
    pub ttl: u32,
}

impl Dns<'_> {
    /// A message that was sent or has come; what it says is left out where it could not be read.
    #[must_use]
    pub fn new(is_answer: bool, message: Option<Message>) -> Self {
        let direction = if is_answer { "answer" } else { "query" };
        let Some(message) = message else {
            return Self {
                direction,
                ..Self::default()
            };
        };
        let addresses = message.answers.iter().filter_map(|it| it.address());
        Self {
            direction,
            id: Some(message.id.to_string()),
            op_code: Some(message.op_code),
            resolved_ip: addresses.map(str::to_owned).collect(),
            question: message.question.map(|it| DnsQuestion {
                name: it.name.into(),
                record_type: it.record_type,
                class: it.class,
            }),
            response_code: is_answer.then_some(message.response_code),
            answers: message
                .answers
                .into_iter()
                .map(|it| DnsAnswer {
                    name: it.name.into(),
                    record_type: it.record_type,
                    data: it.data.map(Cow::Owned),
                    ttl: it.ttl,
                })
                .collect(),
        }
    }
}
