//! An answer of the Docker Engine API → what is known of a container. Pure.

use bollard::models::ContainerInspectResponse;
use holdfast_wire::event::Container;

use super::super::answer;
use crate::runtime::table::Details;

/// `GET /containers/{id}/json`; `None` where it has no id.
pub(super) fn details(
    inspected: ContainerInspectResponse,
    runtime: &'static str,
) -> Option<Details> {
    let id = inspected.id.filter(|id| !id.is_empty())?;
    let config = inspected.config.unwrap_or_default();
    let state = inspected.state.unwrap_or_default();
    let host = inspected.host_config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let pod = answer::pod(&labels);
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
        pid: pid.filter(|pid| *pid != 0),
    })
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
            "HostConfig": {"Privileged": true},
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
        let pod = details.pod.unwrap();
        assert_eq!(
            (&*pod.name, &*pod.namespace, &*pod.uid),
            ("web-0", "prod", "u")
        );
    }

    #[test]
    fn what_is_missing_does_no_harm() {
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({"Id": ""})), None);
        assert_eq!(read(json!({"Id": "a"})).unwrap().container.image, None);
    }
}
