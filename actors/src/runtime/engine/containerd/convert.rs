//! A container as containerd tells of it → what is known of it. Pure.

use containerd_client::services::v1::Container as Told;
use holdfast_wire::event::{Container, Grants};
use serde_json::Value;

use super::super::answer;
use crate::runtime::table::Details;

/// Labels in which those who ask containerd for a container write its name: the kubelet and nerdctl.
const NAMES: [&str; 2] = ["io.kubernetes.container.name", "nerdctl/name"];

/// Types of namespaces, as the kernel calls them in `/proc/PID/ns` and as the specification does.
const NAMESPACES: [(&str, &str); 5] = [
    ("ipc", "ipc"),
    ("mnt", "mount"),
    ("net", "network"),
    ("pid", "pid"),
    ("uts", "uts"),
];
/// What containerd gives a container that does not ask for others (`oci.defaultUnixCaps`).
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// `None` where it has no id.
pub(super) fn details(told: Told) -> Option<Details> {
    if told.id.is_empty() {
        return None;
    }
    let name = NAMES.iter().find_map(|label| told.labels.get(*label));
    let spec = told.spec.map(|spec| spec.value).unwrap_or_default();
    // Of what is no specification nothing is known.
    let spec: Value = serde_json::from_slice(&spec).unwrap_or_default();
    Some(Details {
        container: Container {
            id: told.id,
            name: name.and_then(|name| answer::name(name)),
            runtime: Some("containerd"),
            image: answer::image(Some(&told.image), None),
            privileged: privileged(&spec),
            labels: answer::labels(told.labels.clone()),
        },
        pod: answer::pod(&told.labels),
        grants: grants(&spec),
        pid: None,
    })
}

/// By the OCI runtime specification (config-linux.md): such a container may use all devices, and no path is
/// hidden from it. `None` where that does not say.
fn privileged(spec: &Value) -> Option<bool> {
    let linux = spec.get("linux")?;
    let hidden = linux["maskedPaths"].as_array();
    let devices = linux["resources"]["devices"].as_array();
    let allows_all = |rule: &Value| {
        rule["allow"] == true
            && rule["access"] == "rwm"
            && rule.get("major").is_none()
            && matches!(rule["type"].as_str(), None | Some("a"))
    };
    let has_all = devices.is_some_and(|rules| rules.iter().any(allows_all));
    Some(has_all && hidden.is_none_or(Vec::is_empty))
}

/// What the specification gives it of the host.
fn grants(spec: &Value) -> Grants {
    let bounding = spec["process"]["capabilities"]["bounding"].as_array();
    let named = bounding.into_iter().flatten().filter_map(Value::as_str);
    let added = named.filter(|name| !DEFAULT_CAPABILITIES.contains(name));
    let mounts = spec["mounts"].as_array().into_iter().flatten();
    Grants {
        added_capabilities: answer::capabilities(added.map(str::to_owned)),
        host_namespaces: host_namespaces(spec),
        mounts: answer::mounts(mounts.filter_map(mount)),
    }
}

/// Those for which none is asked for (config-linux.md: such a process is in that of its runtime).
fn host_namespaces(spec: &Value) -> Vec<String> {
    let Some(own) = spec["linux"]["namespaces"].as_array() else {
        return Vec::new();
    };
    let has = |kind: &str| own.iter().any(|it| it["type"] == kind);
    let shared = NAMESPACES.into_iter().filter(|(_, kind)| !has(kind));
    shared.map(|(name, _)| name.to_owned()).collect()
}

/// Source, destination, and whether it is read-only; `None` for what is not of the host.
fn mount(mount: &Value) -> Option<(&str, &str, bool)> {
    let options = mount["options"].as_array();
    let has = |option: &str| options.is_some_and(|all| all.iter().any(|it| it == option));
    let is_bind = mount["type"] == "bind" || has("bind") || has("rbind");
    let source = mount["source"].as_str().filter(|_| is_bind)?;
    Some((source, mount["destination"].as_str()?, has("ro")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn told(labels: &[(&str, &str)], spec: &Value) -> Told {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Told {
            id: "abc".into(),
            image: "registry:5000/team/nginx:1.27".into(),
            labels: labels.collect(),
            spec: Some(prost_types::Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".into(),
                value: spec.to_string().into_bytes(),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_the_kubelet_has_asked_for_is_understood() {
        let labels = [
            ("io.kubernetes.container.name", "web"),
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "prod"),
            ("io.kubernetes.pod.uid", "u"),
            ("app", "shop"),
        ];
        let spec = json!({"linux": {"maskedPaths": ["/proc/kcore"], "resources": {"devices": [
            {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rwm"}]}}});
        let details = details(told(&labels, &spec)).unwrap();
        let container = &details.container;
        assert_eq!(
            (&*container.id, container.name.as_deref()),
            ("abc", Some("web"))
        );
        assert_eq!(
            (container.runtime, container.privileged),
            (Some("containerd"), Some(false))
        );
        assert_eq!(container.labels["app"], "shop");
        assert_eq!(
            container.image.as_ref().unwrap().name,
            "registry:5000/team/nginx"
        );
        let pod = details.pod.unwrap();
        assert_eq!(
            (&*pod.name, &*pod.namespace, &*pod.uid),
            ("web-0", "prod", "u")
        );
    }

    #[test]
    fn who_may_use_all_devices_and_sees_all_paths_is_privileged() {
        let spec = |masked: &[&str]| {
            json!({"linux": {"maskedPaths": masked, "resources": {"devices": [
                {"allow": true, "access": "rwm"}]}}})
        };
        let is_privileged = |spec| details(told(&[], &spec)).unwrap().container.privileged;
        assert_eq!(is_privileged(spec(&[])), Some(true));
        assert_eq!(is_privileged(spec(&["/proc/kcore"])), Some(false));
        assert_eq!(is_privileged(json!({})), None);
    }

    #[test]
    fn what_it_has_of_the_host_is_shown() {
        let spec = json!({
            "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network", "path": "/proc/7/ns/net"}]},
            "process": {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}},
            "mounts": [
                {"type": "proc", "source": "proc", "destination": "/proc"},
                {"type": "bind", "source": "/", "destination": "/host", "options": ["rbind", "ro"]},
                {"source": "/run/docker.sock", "destination": "/s", "options": ["bind"]}]});
        let grants = details(told(&[], &spec)).unwrap().grants;
        assert_eq!(grants.added_capabilities, ["CAP_SYS_ADMIN"]);
        assert_eq!(grants.host_namespaces, ["pid"]);
        assert_eq!(grants.mounts, ["/:/host:ro", "/run/docker.sock:/s"]);
    }

    #[test]
    fn what_is_missing_does_no_harm() {
        assert_eq!(details(Told::default()), None);
        let bare = Told {
            id: "a".into(),
            ..Default::default()
        };
        let container = details(bare).unwrap().container;
        assert_eq!(
            (container.name, container.image, container.privileged),
            (None, None, None)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_specification(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let spec = prost_types::Any { type_url: String::new(), value };
            let told = Told { id: "a".into(), spec: Some(spec), ..Default::default() };
            let _ = details(told);
        }
    }
}
