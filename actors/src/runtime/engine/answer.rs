//! What engines answer alike, bounded. Pure.

use std::collections::{BTreeMap, HashMap};

use holdfast_wire::event::{Image, ImageHash};

use crate::runtime::table::Pod;

/// Labels and mounts of one container, and digests of one image, that are kept, and the longest of their values in
/// bytes: what people write, and a bound for what programs do, since they stand in events.
const MAX_LABELS: usize = 64;
const MAX_LABEL_BYTES: usize = 1024;
/// Names of capabilities that are kept: the kernel knows 41.
const MAX_CAPABILITIES: usize = 64;
/// Longest name that is kept, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// A name, where there is one.
pub(super) fn name(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| cut(name, MAX_NAME_BYTES).to_owned())
}

/// The labels that are kept.
pub(super) fn labels(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    let mut labels: Vec<(String, String)> = labels.into_iter().collect();
    // Which are kept does not depend on the order in which they came.
    labels.sort_unstable();
    labels.truncate(MAX_LABELS);
    let labels = labels.into_iter().map(|(key, value)| {
        let [key, value] = [key, value].map(|it| cut(&it, MAX_LABEL_BYTES).to_owned());
        (key, value)
    });
    labels.collect()
}

/// Whose kernel runs the containers of an OCI runtime, where it is not the host's, by how the runtime is called: as in `runsc`,
/// `io.containerd.runsc.v1`, `kata-qemu` and `io.containerd.kata.v2`.
pub(super) fn guest_kernel(runtime: &str) -> Option<&'static str> {
    const KERNELS: [(&str, &str); 4] = [
        ("runsc", "gvisor"),
        ("gvisor", "gvisor"),
        ("kata", "kata"),
        ("firecracker", "firecracker"),
    ];
    let called = KERNELS.iter().find(|(part, _)| runtime.contains(part))?;
    Some(called.1)
}

/// Capabilities by their names, of which some leave out `CAP_`; sorted.
pub(super) fn capabilities(named: impl IntoIterator<Item = String>) -> Vec<String> {
    let whole = |name: String| match &*name {
        "ALL" => name,
        _ if name.starts_with("CAP_") => name,
        _ => format!("CAP_{name}"),
    };
    let mut all: Vec<String> = named
        .into_iter()
        .take(MAX_CAPABILITIES)
        .map(whole)
        .collect();
    all.sort_unstable();
    all
}

/// What is mounted: source, destination, and whether it is read-only.
pub(super) fn mounts<'a>(mounts: impl Iterator<Item = (&'a str, &'a str, bool)>) -> Vec<String> {
    let shown = |(source, destination, is_read_only): (&str, &str, bool)| {
        let [source, destination] = [source, destination].map(|it| cut(it, MAX_LABEL_BYTES));
        format!(
            "{source}:{destination}{}",
            if is_read_only { ":ro" } else { "" }
        )
    };
    mounts.take(MAX_LABELS).map(shown).collect()
}

/// The pod, as the kubelet labels its containers.
pub(super) fn pod(labels: &HashMap<String, String>) -> Option<Pod> {
    let label = |name: &str| labels.get(&format!("io.kubernetes.pod.{name}")).cloned();
    Some(Pod {
        uid: label("uid")?,
        name: label("name").unwrap_or_default(),
        namespace: label("namespace").unwrap_or_default(),
        ..Default::default()
    })
}

/// `reference`: as it was asked for, `NAME[:TAG][@DIGEST]`; `id`: of what it stood for then.
pub(super) fn image(reference: Option<&str>, id: Option<&str>) -> Option<Image> {
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
    let all = [digest, id].into_iter().flatten().map(str::to_owned);
    Some(Image {
        name: name.to_owned(),
        tag: tag.map(str::to_owned).into_iter().collect(),
        hash: hash(all.collect()),
    })
}

/// Those among them that say of which kind they are, as `sha256:…`.
fn hash(mut all: Vec<String>) -> Option<ImageHash> {
    all.retain(|it| it.contains(':'));
    all.truncate(MAX_LABELS);
    (!all.is_empty()).then_some(ImageHash { all })
}

/// An image that is called something that need not be a reference, with these digests.
pub(super) fn called(name: &str, digests: Vec<String>) -> Image {
    Image {
        name: cut(name, MAX_NAME_BYTES).to_owned(),
        tag: Vec::new(),
        hash: hash(digests),
    }
}

/// The beginning, of whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn of_many_labels_some_are_kept() {
        let many = (0..1000).map(|number| (format!("k{number:04}"), "é".repeat(4000)));
        let kept = labels(many.collect());
        assert_eq!(kept.len(), MAX_LABELS);
        assert!(kept.values().all(|it| it.len() <= MAX_LABEL_BYTES));
    }

    proptest! {
        #[test]
        fn any_reference_is_some_image(reference in ".{0,600}") {
            let image = image(Some(&reference), None);
            prop_assert_eq!(image.is_some(), !reference.is_empty());
        }
    }
}
