//! The names under which containerd knows images, told of when one comes, stands for another image, or goes.

use std::collections::HashMap;

use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::{GetImageRequest, ImageCreate, ImageDelete, ImageUpdate};
use containerd_client::tonic::Status;
use containerd_client::tonic::transport::Channel;
use prost::Message as _;

use super::super::grpc::{found, in_time};
use super::super::{Engine, answer};
use super::in_namespace;

/// Names of which is known what they stand for: those of a crowded node several times over.
const MAX_NAMES: usize = 8192;

/// By namespace and name, the digest of what it was last seen to stand for.
#[derive(Debug, Default)]
pub(super) struct Images(HashMap<(String, String), String>);

impl Images {
    /// An event of this topic came. What is not understood says nothing.
    pub(super) async fn happened(
        &mut self,
        engine: &Engine,
        channel: &Channel,
        namespace: &str,
        (topic, about): (&str, &[u8]),
    ) -> Result<(), Status> {
        let (operation, name) = match topic {
            "/images/create" => ("create", ImageCreate::decode(about).map(|it| it.name)),
            "/images/update" => ("update", ImageUpdate::decode(about).map(|it| it.name)),
            "/images/delete" => ("delete", ImageDelete::decode(about).map(|it| it.name)),
            _ => return Ok(()),
        };
        // CRI has an image called by its id beside its name.
        let Some(name) = name.ok().filter(|name| !name.starts_with("sha256:")) else {
            return Ok(());
        };
        let digest = match operation {
            "delete" => None,
            _ => digest(channel, namespace, &name).await?,
        };
        let Some(digest) = self.changes((namespace, &name), operation, digest) else {
            return Ok(());
        };
        if let Some(image) = answer::image(Some(&name), digest.as_deref()) {
            let runtime = engine.socket.runtime;
            engine.shared.tell_image(runtime, operation, &image);
        }
        Ok(())
    }

    /// What a name stands for after an operation, or stood for; `None`: only its labels are others.
    fn changes(
        &mut self,
        (namespace, name): (&str, &str),
        operation: &str,
        digest: Option<String>,
    ) -> Option<Option<String>> {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(digest) = digest else {
            return Some(self.0.remove(&key));
        };
        if self.0.len() >= MAX_NAMES {
            self.0.clear();
        }
        let before = self.0.insert(key, digest.clone());
        let is_same = operation == "update" && before.as_ref() == Some(&digest);
        (!is_same).then_some(Some(digest))
    }
}

/// What a name stands for; `None` when it is gone.
async fn digest(channel: &Channel, namespace: &str, name: &str) -> Result<Option<String>, Status> {
    let mut client = ImagesClient::new(channel.clone());
    let name = name.to_owned();
    let request = in_namespace(GetImageRequest { name }, namespace)?;
    let answer = found(in_time(client.get(request)).await)?;
    Ok(answer.and_then(|it| Some(it.image?.target?.digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_alone_are_no_news() {
        let mut images = Images::default();
        let mut changes = |operation, digest: &str| {
            let digest = (!digest.is_empty()).then(|| digest.to_owned());
            images.changes(("n", "web:1"), operation, digest)
        };
        let is = |digest: &str| Some(Some(digest.to_owned()));
        assert_eq!(changes("create", "a"), is("a"));
        assert_eq!(changes("update", "a"), None);
        assert_eq!(changes("update", "b"), is("b"));
        assert_eq!(changes("delete", ""), is("b"));
        assert_eq!(changes("delete", ""), Some(None));
        assert_eq!(changes("update", "b"), is("b"));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut images = Images::default();
        for number in 0..MAX_NAMES + 10 {
            images.changes(("n", &number.to_string()), "create", Some("a".to_owned()));
        }
        assert!(images.0.len() <= MAX_NAMES);
    }
}
