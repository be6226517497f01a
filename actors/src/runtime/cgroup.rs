//! A cgroup's path → the container that it belongs to. Pure.
//!
//! Container managers name cgroups after containers, each in its own way, and differently again under
//! the drivers `systemd` and `cgroupfs`. A path may name several, one inside the other: the innermost
//! counts.

/// What a cgroup's path tells of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    /// 64 hexadecimal digits where an OCI runtime made it; else its name.
    pub(crate) id: String,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc` or `systemd-nspawn`; `None` where the path
    /// does not tell them apart.
    pub(crate) runtime: Option<&'static str>,
    /// The uid of the Kubernetes pod that it is in.
    pub(crate) pod: Option<String>,
}

/// Prefixes of scopes and directories, and whose they are.
const PREFIXES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    // cri-dockerd names pods' containers as Docker does.
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
];

/// The container that a cgroup with this path belongs to: `None` for the host's own.
pub(crate) fn container(path: &str) -> Option<Container> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let found = (0..parts.len()).rev().find_map(|index| {
        let above = index.checked_sub(1).and_then(|above| parts.get(above));
        named(parts.get(index)?, above.copied())
    })?;
    let pod = parts.iter().rev().find_map(|part| pod(part));
    Some(Container { pod, ..found })
}

/// The container that one part of a path names; `above` is the part before it.
fn named(part: &str, above: Option<&str>) -> Option<Container> {
    let of = |id: &str, runtime| {
        // Who may make cgroups may call one `lxc.payload.`.
        (!id.is_empty()).then(|| Container {
            id: id.to_owned(),
            runtime,
            pod: None,
        })
    };
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return of(id, Some(runtime));
        }
    }
    // containerd's CRI plugin where the kubelet's driver is systemd and its own is not:
    // `kubepods-…-podUID.slice:cri-containerd:ID`.
    if let Some((front, id)) = name.rsplit_once(':').filter(|(_, id)| is_id(id)) {
        let manager = front.rsplit(':').next().unwrap_or_default();
        let known = PREFIXES
            .iter()
            .find(|(prefix, _)| prefix.strip_suffix('-') == Some(manager));
        return of(id, known.map(|(_, runtime)| *runtime));
    }
    if is_id(name) {
        return of(name, (above == Some("docker")).then_some("docker"));
    }
    // `lxc.monitor.NAME` is the host's side of it.
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return of(name, Some("lxc"));
    }
    if above == Some("lxc") {
        return of(name, Some("lxc"));
    }
    if above == Some("machine.slice") {
        let service = name
            .strip_prefix("systemd-nspawn@")
            .and_then(|name| name.strip_suffix(".service"));
        // libvirt registers virtual machines as `machine-qemu…`; what runs there has no cgroup here.
        let scope = part
            .strip_suffix(".scope")
            .and_then(|name| name.strip_prefix("machine-"))
            .filter(|name| !name.starts_with("qemu"));
        return of(&unescaped(service.or(scope)?), Some("systemd-nspawn"));
    }
    None
}

/// What OCI runtimes' managers give as an id: 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The pod of `podUID` (driver cgroupfs) or `kubepods-besteffort-podUID.slice` (driver systemd, which
/// has `_` for the uid's `-`). A static pod's uid has no dashes.
fn pod(part: &str) -> Option<String> {
    // A slice may be followed by `:manager:ID`.
    let part = part.split(':').next()?;
    let name = match part.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods-")?.rsplit('-').next()?,
        None => part,
    };
    let uid = name.strip_prefix("pod")?.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
    (digits == 32 && digits + dashes == uid.len()).then_some(uid)
}

/// systemd.unit(5): `\x2d` stands for a dash in a unit's name.
fn unescaped(name: &str) -> String {
    name.replace("\\x2d", "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c2f0e5b1a4d9c";
    const UID: &str = "8f3e1c52-77aa-4d0b-9f0e-0a1b2c3d4e5f";

    fn found(path: &str) -> Option<(String, Option<&'static str>, Option<String>)> {
        container(path).map(|it| (it.id, it.runtime, it.pod))
    }

    #[test]
    fn every_manager_and_driver_is_known() {
        let id = || ID.to_owned();
        let pod = || Some(UID.to_owned());
        let slice = format!("kubepods-besteffort-pod{}.slice", UID.replace('-', "_"));
        let cases = [
            (
                format!("/system.slice/docker-{ID}.scope"),
                Some("docker"),
                None,
            ),
            (format!("/docker/{ID}"), Some("docker"), None),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                Some("podman"),
                None,
            ),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                Some("podman"),
                None,
            ),
            (format!("/libpod_parent/libpod-{ID}"), Some("podman"), None),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/{slice}/cri-containerd-{ID}.scope"
                ),
                Some("containerd"),
                pod(),
            ),
            (
                format!("/kubepods.slice/kubepods-besteffort.slice/{slice}/crio-{ID}.scope"),
                Some("cri-o"),
                pod(),
            ),
            (
                format!("/kubepods.slice/{slice}/docker-{ID}.scope"),
                Some("docker"),
                pod(),
            ),
            (format!("/kubepods/burstable/pod{UID}/{ID}"), None, pod()),
            (
                format!("/system.slice/containerd.service/{slice}:cri-containerd:{ID}"),
                Some("containerd"),
                pod(),
            ),
            (format!("/default/{ID}"), None, None),
            // A container in a container: a node that is one itself.
            (
                format!("/docker/{}/kubelet/kubepods/pod{UID}/{ID}", "a".repeat(64)),
                None,
                pod(),
            ),
        ];
        for (path, runtime, pod) in cases {
            assert_eq!(found(&path), Some((id(), runtime, pod)), "{path}");
        }
        for (path, name, runtime) in [
            ("/lxc.payload.web/system.slice/cron.service", "web", "lxc"),
            ("/lxc/web/init.scope", "web", "lxc"),
            (
                "/machine.slice/systemd-nspawn@build.service/payload",
                "build",
                "systemd-nspawn",
            ),
            (
                "/machine.slice/machine-my\\x2dbox.scope",
                "my-box",
                "systemd-nspawn",
            ),
        ] {
            assert_eq!(
                found(path),
                Some((name.to_owned(), Some(runtime), None)),
                "{path}"
            );
        }
    }

    #[test]
    fn no_container_is_called_nothing() {
        for path in [
            "/lxc.payload.",
            "/lxc/.scope",
            "/machine.slice/machine-.scope",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn the_hosts_own_cgroups_are_no_containers() {
        for path in [
            "/",
            "",
            "/system.slice/docker.service",
            "/system.slice/containerd.service",
            "/user.slice/user-0.slice/session-1.scope",
            "/kubepods.slice/kubepods-besteffort.slice",
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt",
            "/lxc.monitor.web",
            "/docker/buildx",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
        let conmon = format!("/machine.slice/libpod-conmon-{ID}.scope");
        assert_eq!(found(&conmon), None);
        let conmon = format!("/machine.slice/crio-conmon-{ID}.scope");
        assert_eq!(found(&conmon), None);
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "(/(docker-|libpod-|pod|lxc|machine.slice|kubepods-|:|\\.slice|\\.scope|[a-f0-9]{0,66}|\\PC{0,5}){0,4}){0,5}") {
            let _ = container(&path);
        }
    }
}
