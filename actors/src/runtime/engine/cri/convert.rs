//! A container or a sandbox as CRI tells of it → what is known of it. Pure.

use std::collections::HashMap;

use holdfast_wire::event::{Container, Grants};
use k8s_cri::v1::{ContainerStatusResponse, PodSandboxMetadata, PodSandboxStatusResponse};
use serde_json::Value;

use super::super::{answer, oci};
use crate::runtime::table::{Details, Pod};

/// `ContainerStatus`; `None` where it has no id.
pub(in super::super) fn container(
    told: ContainerStatusResponse,
    runtime: &'static str,
    pod: Option<Pod>,
) -> Option<Details> {
    let status = told.status.filter(|status| !status.id.is_empty())?;
    let info = info(&told.info);
    let image = status.image.unwrap_or_default();
    let asked = [image.user_specified_image, image.image];
    let asked = asked.iter().find(|name| !name.is_empty());
    let digest = status.image_ref.rsplit('@').next();
    let name = status.metadata.map(|it| it.name).unwrap_or_default();
    let pod = pod.or_else(|| answer::pod(&status.labels));
    let container = Container {
        id: status.id,
        name: answer::name(&name),
        runtime: Some(runtime),
        image: answer::image(asked.map(|name| &**name), digest),
        privileged: None,
        labels: answer::labels(status.labels),
    };
    Some(with(container, pod, false, &info))
}

/// `PodSandboxStatus`, likewise.
pub(in super::super) fn sandbox(
    told: PodSandboxStatusResponse,
    runtime: &'static str,
    pod: Option<Pod>,
) -> Option<Details> {
    let status = told.status.filter(|status| !status.id.is_empty())?;
    let info = info(&told.info);
    let container = Container {
        id: status.id,
        name: None,
        runtime: Some(runtime),
        image: answer::image(info["image"].as_str(), None),
        privileged: None,
        labels: answer::labels(status.labels),
    };
    Some(with(container, pod, true, &info))
}

/// With what only the engine's own words say.
fn with(container: Container, pod: Option<Pod>, is_sandbox: bool, info: &Value) -> Details {
    let spec = &info["runtimeSpec"];
    let privileged = info["privileged"]
        .as_bool()
        .or_else(|| oci::privileged(spec));
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    Details {
        container: Container {
            privileged,
            ..container
        },
        pod,
        grants: Grants {
            is_sandbox,
            // As containerd says it; CRI-O does not.
            guest_kernel: info["runtimeType"].as_str().and_then(answer::guest_kernel),
            ..oci::grants(spec)
        },
        pid: pid.filter(|pid| *pid != 0),
        is_by_cri: true,
    }
}

/// What containerd and CRI-O add: pid, specification and more, as JSON that no standard describes.
fn info(info: &HashMap<String, String>) -> Value {
    let text = info.get("info").map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// The pod of a sandbox.
pub(in super::super) fn pod(
    metadata: Option<PodSandboxMetadata>,
    labels: HashMap<String, String>,
) -> Option<Pod> {
    let metadata = metadata?;
    let name = |name: &str| answer::name(name).unwrap_or_default();
    Some(Pod {
        name: name(&metadata.name),
        namespace: name(&metadata.namespace),
        uid: name(&metadata.uid),
        labels: answer::labels(labels)
            .into_iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_cri::v1::{ContainerMetadata, ContainerStatus, ImageSpec, PodSandboxStatus};
    use proptest::prelude::*;
    use serde_json::json;

    fn told(info: &str) -> ContainerStatusResponse {
        ContainerStatusResponse {
            status: Some(ContainerStatus {
                id: "abc".into(),
                metadata: Some(ContainerMetadata {
                    name: "web".into(),
                    attempt: 0,
                }),
                image: Some(ImageSpec {
                    image: "registry:5000/team/nginx:1.27".into(),
                    ..Default::default()
                }),
                image_ref: "registry:5000/team/nginx@sha256:ab".into(),
                labels: [("app".to_owned(), "shop".to_owned())].into(),
                ..Default::default()
            }),
            info: [("info".to_owned(), info.to_owned())].into(),
        }
    }

    fn in_pod() -> Option<Pod> {
        let metadata = PodSandboxMetadata {
            name: "web-0".into(),
            uid: "u".into(),
            namespace: "prod".into(),
            attempt: 0,
        };
        pod(
            Some(metadata),
            [("tier".to_owned(), "front".to_owned())].into(),
        )
    }

    #[test]
    fn a_container_is_understood() {
        let info = json!({"pid": 42, "runtimeSpec": {
            "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "pid"}]},
            "process": {"capabilities": {"bounding": ["CAP_SYS_ADMIN"]}}}});
        let details = container(told(&info.to_string()), "cri-o", in_pod()).unwrap();
        let shown = &details.container;
        assert_eq!(
            (&*shown.id, shown.name.as_deref(), shown.runtime),
            ("abc", Some("web"), Some("cri-o"))
        );
        let image = shown.image.as_ref().unwrap();
        assert_eq!(
            (
                &*image.name,
                &*image.tag[0],
                &*image.hash.as_ref().unwrap().all[0]
            ),
            ("registry:5000/team/nginx", "1.27", "sha256:ab")
        );
        assert_eq!(details.pid, Some(42));
        assert_eq!(details.grants.host_namespaces, ["net"]);
        assert_eq!(details.grants.added_capabilities, ["CAP_SYS_ADMIN"]);
        assert!(!details.grants.is_sandbox);
        let pod = details.pod.unwrap();
        assert_eq!((&*pod.name, &*pod.labels[0]), ("web-0", "tier:front"));
    }

    #[test]
    fn a_sandbox_is_one() {
        let told = PodSandboxStatusResponse {
            status: Some(PodSandboxStatus {
                id: "abc".into(),
                ..Default::default()
            }),
            info: [(
                "info".to_owned(),
                json!({"pid": 7, "image": "pause:3"}).to_string(),
            )]
            .into(),
            ..Default::default()
        };
        let details = sandbox(told, "containerd", in_pod()).unwrap();
        assert!(details.grants.is_sandbox);
        assert_eq!(details.pid, Some(7));
        assert_eq!(details.container.image.unwrap().name, "pause");
    }

    #[test]
    fn what_is_missing_does_no_harm() {
        assert_eq!(
            container(ContainerStatusResponse::default(), "cri-o", None),
            None
        );
        assert_eq!(
            sandbox(PodSandboxStatusResponse::default(), "cri-o", None),
            None
        );
        let details = container(told("no JSON"), "cri-o", None).unwrap();
        assert_eq!((details.pid, details.container.privileged), (None, None));
    }

    proptest! {
        #[test]
        fn any_words_will_do(info in ".{0,200}") {
            prop_assert!(container(told(&info), "cri-o", None).is_some());
        }
    }
}
