//! Where an operation came from: container and pod.

use std::borrow::Cow;

use serde::Serialize;

/// `container.*`
#[derive(Clone, Debug, Serialize)]
pub struct Container<'a> {
    /// As its runtime names it: 64 hexadecimal digits of an OCI runtime, or a name.
    pub id: Cow<'a, str>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'a str>,
}

/// `orchestrator.*`
#[derive(Clone, Debug, Serialize)]
pub struct Orchestrator<'a> {
    /// `kubernetes`
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// What it runs there.
    pub resource: Resource<'a>,
}

/// `orchestrator.resource.*`
#[derive(Clone, Debug, Serialize)]
pub struct Resource<'a> {
    /// `pod`
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The pod's uid.
    pub id: Cow<'a, str>,
}
