//! Where an operation came from: a container, and what runs that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// `container.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Container {
    /// As its runtime names it: 64 hexadecimal digits of an OCI runtime, or a name. Empty where an event is about an
    /// image alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// As its engine calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'static str>,
    /// What it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Whether it has all capabilities and devices, and no confinement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// What whoever made it says of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `holdfast.container.*`, on `container.start` and `container.exit`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lifecycle<'a> {
    /// At its start, what it has of the host.
    #[serde(flatten)]
    pub grants: Option<&'a Grants>,
    /// What its first process ended with, as its engine says: 128 and the signal's number, where one ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// What a container has of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Capabilities beside those that the engine gives to all, as `CAP_SYS_ADMIN`; `ALL` where whoever made it
    /// asked for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added_capabilities: Vec<String>,
    /// Which of its first process's namespaces are those of the host's: of `ipc`, `mnt`, `net`, `pid` and `uts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_namespaces: Vec<String>,
    /// Files and directories of the host that are mounted into it, as `/path/there:/path/inside`, and `:ro` behind
    /// where it cannot write to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    /// It only keeps the namespaces of a pod for the pod's other containers.
    #[serde(rename = "sandbox", skip_serializing_if = "std::ops::Not::not")]
    pub is_sandbox: bool,
    /// `gvisor`, `kata` or `firecracker`, where a kernel of its own runs its programs: the host's sees none of what they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_kernel: Option<&'static str>,
}

/// `holdfast.image.*`, on `container.image`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ImageChange {
    /// One of [`OPERATIONS`](crate::record::container::OPERATIONS).
    pub operation: &'static str,
}

/// `container.image.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Without tag and digest, as it was asked for: `nginx`, `registry.example/team/app`.
    pub name: String,
    /// The tag that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tag: Vec<String>,
    /// What tells that it is the very same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<ImageHash>,
}

impl Image {
    /// As whoever asked for it writes it: `nginx:1.27`.
    #[must_use]
    pub fn reference(&self) -> String {
        match self.tag.first() {
            Some(tag) => format!("{}:{tag}", self.name),
            None => self.name.clone(),
        }
    }
}

/// `container.image.hash.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageHash {
    /// Each as `sha256:…`.
    pub all: Vec<String>,
}

/// `orchestrator.*`
#[derive(Clone, Debug, Serialize)]
pub struct Orchestrator<'a> {
    /// `kubernetes`
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The Kubernetes namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Cow<'a, str>>,
    /// What it runs there.
    pub resource: Resource<'a>,
}

/// `orchestrator.resource.*`
#[derive(Clone, Debug, Serialize)]
pub struct Resource<'a> {
    /// `pod`
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The pod's uid.
    pub id: Cow<'a, str>,
    /// What whoever made the pod says of it, as `key:value`.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub label: &'a [String],
}
