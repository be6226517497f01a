//! In which cloud the host is.

use serde::Serialize;

/// `cloud.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cloud {
    /// As `aws`, `azure`, `gcp`.
    pub provider: String,
    /// As `us-east-2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// As `us-east-2b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// The virtual machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Named>,
    /// What kind of machine it is, as `m5.large`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Typed>,
    /// Whose it is: an account, a subscription or a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Named>,
}

/// Something with an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// As the cloud has it.
    pub id: String,
}

impl Named {
    /// With this id.
    #[must_use]
    pub const fn new(id: String) -> Self {
        Self { id }
    }
}

/// Something with a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Typed {
    /// As the cloud has it.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Typed {
    /// Of this type.
    #[must_use]
    pub const fn new(kind: String) -> Self {
        Self { kind }
    }
}
