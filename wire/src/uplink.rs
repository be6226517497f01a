//! What a sensor and the Team Server say to each other beside [frames](crate::frame): JSON over HTTP,
//! below [`PREFIX`]. The sensor is the client.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST enrol` | [`Enrol`] | [`Enrolled`]; 403: the installation key is unknown, expired or used up, or the host is enrolled and did not show its token |
//! | `POST frames` | a frame | [`Acknowledgement`]; 400 and 413: never to be taken as it is; the sensor sends parts, and gives up what is refused alone |
//! | `POST heartbeat` | [`Heartbeat`] | [`HeartbeatAnswer`] |
//! | `GET bundle/VERSION` | | [`SignedBundle`] |
//!
//! All but the first carry `Authorization: Bearer TOKEN`. 401: the token is not known, enrol again;
//! 409: the frame is another sensor's; 429 and 503: later, after `Retry-After` seconds. An answer that is not 200 has
//! a [`Refusal`] as its body. Keys that are not known are passed over, so that either side may be
//! newer than the other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Where all of it is.
pub const PREFIX: &str = "/uplink/v1";
/// Most bytes of a message that is JSON, bundles aside: a ledger of all kinds is a tenth.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Most containers of a heartbeat: twice what a node of Kubernetes may have by default (110 pods).
pub const MAX_CONTAINERS: usize = 500;
/// Most bytes of them as JSON: room for what else a message has.
pub const MAX_CONTAINERS_BYTES: usize = 160 << 10;
/// Most bytes of a bundle's payload: some hundred policies.
pub const MAX_BUNDLE_BYTES: usize = 8 << 20;
/// Bytes of an ed25519 public key ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032), section 5.1.5).
pub const KEY_BYTES: usize = 32;
/// Bytes of an ed25519 signature (section 5.1.6).
pub const SIGNATURE_BYTES: usize = 64;

/// A key or token: shown by nothing that prints a message for people.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Holds `secret`.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// What it holds.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Bytes that are base64 in JSON ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648), section 4, padded).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A sensor wants to be one of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// What permits it.
    pub installation_key: Secret,
    /// Stable for the host: the `host.id` of its events.
    pub host_id: String,
    /// `host.name` of its events.
    pub host_name: String,
    /// Of the sensor.
    pub version: String,
    /// Of the machine, as uname(2) has it.
    pub architecture: String,
    /// Release of the kernel, as uname(2) has it.
    pub kernel: String,
    /// The token that it showed so far, by which a host that enrolled before proves that it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_token: Option<Secret>,
}

/// It is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The same each time the host enrols.
    pub sensor_id: String,
    /// What it shows from now on; tokens that the host had before are void once it does.
    pub token: Secret,
    /// ed25519 public key by which bundles are verified; the sensor pins it.
    pub bundle_key: Base64,
}

/// Everything of a stream and priority up to a sequence is stored durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// That sequence, inclusive.
    pub acknowledged: u64,
}

/// How a sensor is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Of the sensor.
    pub version: String,
    /// As in `holdfast status`.
    pub tier: String,
    /// As in `holdfast status`.
    pub mode: String,
    /// What does not work as it should.
    #[serde(default)]
    pub degraded: Vec<Degraded>,
    /// By what it decides.
    pub policy: PolicyState,
    /// As in `holdfast status --json`.
    #[serde(default)]
    pub ledger: Value,
    /// Of its own uplink.
    #[serde(default)]
    pub uplink: UplinkTotals,
    /// What runs on its host; an older sensor does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
}

/// The containers that run on a host, as their engines have told its sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// How many run.
    pub total: u64,
    /// The first of them by id, within [`MAX_CONTAINERS`] and [`MAX_CONTAINERS_BYTES`].
    pub list: Vec<Container>,
}

/// A container that runs. What its engine did not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `container.id` of its events.
    pub id: String,
    /// `container.name`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `container.image.name`, and the first tag behind a colon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `container.runtime`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `orchestrator.namespace`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `orchestrator.resource.name`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// Something that does not work as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub since: String,
}

/// By what a sensor decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyState {
    /// How often its policies changed since it started.
    pub revision: u64,
    /// Version of the bundle in force; none when its policies are its own.
    #[serde(default)]
    pub bundle: Option<u64>,
    /// Why the last bundle was refused; none when it was not.
    #[serde(default)]
    pub error: Option<String>,
}

/// What became of the events that a sensor had for its server, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkTotals {
    /// In its spool now.
    pub spooled: u64,
    /// Lost since it enrolled: shed by a full spool, or refused.
    pub lost: u64,
    /// Acknowledged since it enrolled.
    pub sent: u64,
}

/// What a sensor should do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Version of the bundle that it is to have in force; none when that is its own affair.
    #[serde(default)]
    pub bundle: Option<u64>,
    /// What it shows from now on. The one before is good until this one was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Seconds until the next heartbeat.
    pub heartbeat_seconds: u64,
}

/// A bundle of policies, and the proof of whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBundle {
    /// The JSON of a [`Bundle`], at most [`MAX_BUNDLE_BYTES`].
    pub payload: Base64,
    /// ed25519 (RFC 8032) over the payload's bytes.
    pub signature: Base64,
}

/// Policies that go together. A sensor takes all of them or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    /// Increases with each bundle of a server. A sensor refuses one that is lower than the one in force.
    pub version: u64,
    /// Whether its content is that of an earlier one again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollback: bool,
    /// For people.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// In the order in which they are shown.
    pub policies: Vec<BundlePolicy>,
}

/// One policy of a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BundlePolicy {
    /// How errors name it: a file name without directories, ending in `.json`.
    pub file: String,
    /// The document, as it was written: places in errors are places in it.
    pub document: Box<RawValue>,
}

/// Why a request was not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In words.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_have_the_names_of_the_protocol() {
        let answer: HeartbeatAnswer =
            serde_json::from_value(json!({"bundle": null, "heartbeat_seconds": 30, "later": 1}))
                .unwrap();
        assert_eq!(answer.token, None);
        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            json!({"bundle": null, "heartbeat_seconds": 30})
        );
        let enrolled = Enrolled {
            sensor_id: "s".into(),
            token: Secret::new("t".into()),
            bundle_key: Base64(vec![1, 2, 3]),
        };
        assert_eq!(
            serde_json::to_value(enrolled).unwrap(),
            json!({"sensor_id": "s", "token": "t", "bundle_key": "AQID"})
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let answer = HeartbeatAnswer {
            bundle: Some(1),
            token: Some(Secret::new("verysecret".into())),
            heartbeat_seconds: 30,
        };
        assert!(!format!("{answer:?}").contains("verysecret"));
    }

    #[test]
    fn a_document_stays_as_it_was_written() {
        let text = r#"{"version":1,"name":"n","created":"2026-11-22T19:00:00Z",
            "policies":[{"file":"a.json","document":{"b" : 1,
 "a":2}}]}"#;
        let bundle: Bundle = serde_json::from_str(text).unwrap();
        assert!(!bundle.rollback);
        assert_eq!(bundle.policies[0].document.get(), "{\"b\" : 1,\n \"a\":2}");
    }
}
