//! An answer or an event of the Docker Engine API → what is known of a container. Pure.

use std::collections::HashMap;

use bollard::models::{ContainerInspectResponse, HostConfig, MountPoint};
use holdfast_wire::event::{Container, Grants};

use super::super::answer;
use crate::runtime::table::Details;

/// `GET /containers/{id}/json`; `None` where it has no id.
pub(in super::super) fn details(
    inspected: ContainerInspectResponse,
    runtime: &'static str,
) -> Option<Details> {
    let id = inspected.id.filter(|id| !id.is_empty())?;
    let config = inspected.config.unwrap_or_default();
    let state = inspected.state.unwrap_or_default();
    let host = inspected.host_config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let pod = answer::pod(&labels);
    let host_namespaces = host_namespaces(&host);
    let name = inspected.name.unwrap_or_default();
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok());
    Some(Details {
        container: Container {
            id,
            name: answer::name(name.trim_start_matches('/')),
            runtime: Some(runtime),
            image: answer::image(config.image.as_deref(), inspected.image.as_deref()),
            privileged: host.privileged,
            labels: answer::labels(labels),
        },
        pod,
        grants: Grants {
            added_capabilities: answer::capabilities(host.cap_add.unwrap_or_default()),
            host_namespaces,
            mounts: answer::mounts(
                inspected
                    .mounts
                    .unwrap_or_default()
                    .iter()
                    .filter_map(mount),
            ),
            guest_kernel: host.runtime.as_deref().and_then(answer::guest_kernel),
            ..Default::default()
        },
        pid: pid.filter(|pid| *pid != 0),
        is_by_cri: false,
    })
}

/// Those that were asked for to be the host's.
fn host_namespaces(host: &HostConfig) -> Vec<String> {
    let asked = [
        ("ipc", &host.ipc_mode),
        ("net", &host.network_mode),
        ("pid", &host.pid_mode),
        ("uts", &host.uts_mode),
    ];
    let shared = asked
        .into_iter()
        .filter(|(_, mode)| mode.as_deref() == Some("host"));
    shared.map(|(kind, _)| kind.to_owned()).collect()
}

/// Source, destination, and whether it is read-only.
fn mount(point: &MountPoint) -> Option<(&str, &str, bool)> {
    let (source, destination) = (point.source.as_deref()?, point.destination.as_deref()?);
    Some((source, destination, point.rw == Some(false)))
}

/// What an event says of a container that is gone by the time that it is asked for: its attributes are the labels,
/// and its name and image among them.
pub(super) fn gone(
    id: String,
    mut attributes: HashMap<String, String>,
    runtime: &'static str,
) -> Details {
    let [name, image] = ["name", "image"].map(|key| attributes.remove(key));
    let pod = answer::pod(&attributes);
    Details {
        container: Container {
            id,
            name: name.and_then(|name| answer::name(&name)),
            runtime: Some(runtime),
            image: answer::image(image.as_deref(), None),
            privileged: None,
            labels: answer::labels(attributes),
        },
        pod,
        ..Default::default()
    }
}

/// What the event `die` says that its first process has ended with.
pub(in super::super) fn exit_code(attributes: &HashMap<String, String>) -> Option<i32> {
    // As Docker and Podman write it.
    let keys = ["exitCode", "containerExitCode"];
    let code = keys.iter().find_map(|key| attributes.get(*key))?;
    code.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: serde_json::Value) -> Option<Details> {
        details(serde_json::from_value(answer).unwrap(), "docker")
    }

    #[test]
    fn what_docker_says_is_understood() {
        let answer = json!({
            "Id": "abc", "Name": "/web", "Image": "sha256:1234",
            "State": {"Running": true, "Pid": 42},
            "HostConfig": {"Privileged": true, "Runtime": "runsc", "CapAdd": ["SYS_ADMIN", "CAP_NET_RAW"],
                           "PidMode": "host", "NetworkMode": "host", "IpcMode": "private"},
            "Mounts": [{"Type": "bind", "Source": "/", "Destination": "/host", "RW": false},
                       {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/s", "RW": true},
                       {"Type": "tmpfs", "Destination": "/tmp", "RW": true}],
            "Config": {"Image": "registry:5000/team/nginx:1.27", "Labels": {
                "app": "shop", "io.kubernetes.pod.name": "web-0",
                "io.kubernetes.pod.namespace": "prod", "io.kubernetes.pod.uid": "u"}}});
        let details = read(answer).unwrap();
        let container = &details.container;
        assert_eq!(
            (&*container.id, container.name.as_deref()),
            ("abc", Some("web"))
        );
        assert_eq!(
            (container.runtime, container.privileged),
            (Some("docker"), Some(true))
        );
        assert_eq!(container.labels["app"], "shop");
        let image = container.image.as_ref().unwrap();
        assert_eq!(
            (&*image.name, &*image.tag),
            ("registry:5000/team/nginx", &["1.27".to_owned()][..])
        );
        assert_eq!(image.hash.as_ref().unwrap().all, ["sha256:1234"]);
        assert_eq!(details.pid, Some(42));
        let grants = &details.grants;
        assert_eq!(grants.added_capabilities, ["CAP_NET_RAW", "CAP_SYS_ADMIN"]);
        assert_eq!(grants.host_namespaces, ["net", "pid"]);
        assert_eq!(grants.guest_kernel, Some("gvisor"));
        assert_eq!(grants.mounts, ["/:/host:ro", "/var/run/docker.sock:/s"]);
        let pod = details.pod.unwrap();
        assert_eq!(
            (&*pod.name, &*pod.namespace, &*pod.uid),
            ("web-0", "prod", "u")
        );
    }

    #[test]
    fn who_is_gone_is_known_by_the_event() {
        let attribute = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let said = [
            ("name", "web"),
            ("image", "nginx:1"),
            ("app", "shop"),
            ("exitCode", "137"),
        ];
        let attributes: HashMap<_, _> = said.into_iter().map(attribute).collect();
        assert_eq!(exit_code(&attributes), Some(137));
        let container = gone("abc".into(), attributes, "docker").container;
        assert_eq!(
            (container.name.as_deref(), &*container.image.unwrap().name),
            (Some("web"), "nginx")
        );
        assert_eq!(container.labels["app"], "shop");
        assert_eq!(exit_code(&HashMap::new()), None);
    }

    #[test]
    fn what_is_missing_does_no_harm() {
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({"Id": ""})), None);
        assert_eq!(read(json!({"Id": "a"})).unwrap().container.image, None);
    }
}
