//! An answer of the Docker Engine API → what is known of a container. Pure.

use std::collections::BTreeMap;

use bollard::models::ContainerInspectResponse;
use holdfast_wire::event::{Container, Image, ImageHash};

use crate::runtime::table::{Details, Pod};

/// Labels of one container that are kept, and the longest of their values in bytes: what people write, and a
/// bound for what programs do, since they stand in every event.
const MAX_LABELS: usize = 64;
const MAX_LABEL_BYTES: usize = 1024;
/// Longest name that is kept, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// `GET /containers/{id}/json`; `None` where it has no id.
pub(super) fn details(answer: ContainerInspectResponse, runtime: &'static str) -> Option<Details> {
    let id = answer.id.filter(|id| !id.is_empty())?;
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let pod = pod(&labels);
    let name = answer.name.unwrap_or_default();
    let name = cut(name.trim_start_matches('/'), MAX_NAME_BYTES);
    let mut labels: Vec<(String, String)> = labels.into_iter().collect();
    // Which are kept does not depend on the order in which they came.
    labels.sort_unstable();
    labels.truncate(MAX_LABELS);
    let labels = labels.into_iter().map(|(key, value)| {
        let [key, value] = [key, value].map(|it| cut(&it, MAX_LABEL_BYTES).to_owned());
        (key, value)
    });
    let pid = state.pid.and_then(|pid| u32::try_from(pid).ok());
    Some(Details {
        container: Container {
            id,
            name: (!name.is_empty()).then(|| name.to_owned()),
            runtime: Some(runtime),
            image: image(config.image.as_deref(), answer.image.as_deref()),
            privileged: host.privileged,
            labels: labels.collect::<BTreeMap<_, _>>(),
        },
        pod,
        pid: pid.filter(|pid| *pid != 0),
    })
}

/// The pod, as the kubelet labels its containers.
fn pod(labels: &std::collections::HashMap<String, String>) -> Option<Pod> {
    let label = |name: &str| labels.get(&format!("io.kubernetes.pod.{name}")).cloned();
    Some(Pod {
        uid: label("uid")?,
        name: label("name").unwrap_or_default(),
        namespace: label("namespace").unwrap_or_default(),
    })
}

/// `reference`: as it was asked for, `NAME[:TAG][@DIGEST]`; `id`: of what it stood for then.
fn image(reference: Option<&str>, id: Option<&str>) -> Option<Image> {
    let reference = reference.filter(|it| !it.is_empty()).or(id)?;
    let reference = cut(reference, MAX_NAME_BYTES);
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    // A port of the registry has a colon as well.
    let (name, tag) = match named.rsplit_once(':') {
        Some(("sha256", _)) => (named, None),
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let is_digest = |it: &&str| it.contains(':');
    let all: Vec<String> = [digest, id]
        .into_iter()
        .flatten()
        .filter(is_digest)
        .map(str::to_owned)
        .collect();
    Some(Image {
        name: name.to_owned(),
        tag: tag.map(str::to_owned).into_iter().collect(),
        hash: (!all.is_empty()).then_some(ImageHash { all }),
    })
}

/// The beginning, of whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
    fn references_are_taken_apart() {
        for (reference, name, tag, digests) in [
            ("nginx", "nginx", None, 1),
            ("nginx:latest", "nginx", Some("latest"), 1),
            ("registry:5000/nginx", "registry:5000/nginx", None, 1),
            ("nginx:1@sha256:ab", "nginx", Some("1"), 2),
            ("sha256:abcd", "sha256:abcd", None, 1),
        ] {
            let image = image(Some(reference), Some("sha256:id")).unwrap();
            assert_eq!(
                (&*image.name, image.tag.first().map(|it| &**it)),
                (name, tag),
                "{reference}"
            );
            assert_eq!(image.hash.unwrap().all.len(), digests, "{reference}");
        }
        assert_eq!(image(None, None), None);
        assert_eq!(
            image(Some(""), Some("sha256:id")).unwrap().name,
            "sha256:id"
        );
    }

    #[test]
    fn what_is_missing_or_huge_does_no_harm() {
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({"Id": ""})), None);
        let labels: BTreeMap<String, String> = (0..1000)
            .map(|number| (format!("k{number:04}"), "é".repeat(4000)))
            .collect();
        let details = read(json!({"Id": "a", "Config": {"Labels": labels}})).unwrap();
        assert_eq!(details.container.labels.len(), MAX_LABELS);
        assert!(
            details
                .container
                .labels
                .values()
                .all(|it| it.len() <= MAX_LABEL_BYTES)
        );
        assert_eq!(details.container.image, None);
    }

    proptest! {
        #[test]
        fn any_reference_is_some_image(reference in ".{0,600}") {
            let image = image(Some(&reference), None);
            prop_assert_eq!(image.is_some(), !reference.is_empty());
        }
    }
}
