//! The OCI runtime specification of a container (`config.json`): what it may do, and what it has of the host. Pure.

use holdfast_wire::event::Grants;
use serde_json::Value;

use super::answer;

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

/// By the OCI runtime specification (config-linux.md): such a container may use all devices, and no path is
/// hidden from it. `None` where that does not say.
pub(super) fn privileged(spec: &Value) -> Option<bool> {
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
pub(super) fn grants(spec: &Value) -> Grants {
    let bounding = spec["process"]["capabilities"]["bounding"].as_array();
    let named = bounding.into_iter().flatten().filter_map(Value::as_str);
    let added = named.filter(|name| !DEFAULT_CAPABILITIES.contains(name));
    let mounts = spec["mounts"].as_array().into_iter().flatten();
    Grants {
        added_capabilities: answer::capabilities(added.map(str::to_owned)),
        host_namespaces: host_namespaces(spec),
        mounts: answer::mounts(mounts.filter_map(mount)),
        ..Default::default()
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
    use serde_json::json;

    #[test]
    fn who_may_use_all_devices_and_sees_all_paths_is_privileged() {
        let spec = |masked: &[&str]| {
            json!({"linux": {"maskedPaths": masked, "resources": {"devices": [
                {"allow": true, "access": "rwm"}]}}})
        };
        let is_privileged = |spec: Value| privileged(&spec);
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
        let grants = grants(&spec);
        assert_eq!(grants.added_capabilities, ["CAP_SYS_ADMIN"]);
        assert_eq!(grants.host_namespaces, ["pid"]);
        assert_eq!(grants.mounts, ["/:/host:ro", "/run/docker.sock:/s"]);
    }
}
