//! A container as containerd tells of it → what is known of it. Pure.

use containerd_client::services::v1::Container as Told;
use holdfast_wire::event::{Container, Grants};
use serde_json::Value;

use super::super::{answer, oci};
use crate::runtime::table::Details;

/// Labels in which those who ask containerd for a container write its name: the kubelet and nerdctl.
const NAMES: [&str; 2] = ["io.kubernetes.container.name", "nerdctl/name"];

/// The label in which containerd's side of CRI says whether it is a `container` or a pod's `sandbox`.
const KIND: &str = "io.cri-containerd.kind";

/// `None` where it has no id.
pub(in super::super) fn details(told: Told) -> Option<Details> {
    if told.id.is_empty() {
        return None;
    }
    let name = NAMES.iter().find_map(|label| told.labels.get(*label));
    let runtime = told.runtime.map(|runtime| runtime.name).unwrap_or_default();
    let spec = told.spec.map(|spec| spec.value).unwrap_or_default();
    // Of what is no specification nothing is known.
    let spec: Value = serde_json::from_slice(&spec).unwrap_or_default();
    Some(Details {
        container: Container {
            id: told.id,
            name: name.and_then(|name| answer::name(name)),
            runtime: Some("containerd"),
            image: answer::image(Some(&told.image), None),
            privileged: oci::privileged(&spec),
            labels: answer::labels(told.labels.clone()),
        },
        pod: answer::pod(&told.labels),
        grants: Grants {
            is_sandbox: told.labels.get(KIND).is_some_and(|kind| kind == "sandbox"),
            guest_kernel: answer::guest_kernel(&runtime),
            ..oci::grants(&spec)
        },
        pid: None,
        is_by_cri: false,
    })
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
