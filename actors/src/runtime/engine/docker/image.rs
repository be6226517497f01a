//! What the Docker Engine API tells of images, by events and when it is asked. Pure.

use bollard::models::{EventActor, ImageInspect};
use holdfast_wire::event::{Image, ImageHash};
use holdfast_wire::record::container::OPERATIONS;

use super::super::answer;

/// Hexadecimal digits of an image's id.
const ID_DIGITS: usize = 64;

/// Something happened to an image.
#[derive(Debug)]
pub(in super::super) struct Happened {
    /// One of the wire's operations.
    pub(super) operation: &'static str,
    /// As the engine calls it: by its id, or by a reference to it. Podman leaves it out at times.
    actor: String,
    /// As whoever did it called it; Docker repeats the id at times.
    name: String,
}

impl Happened {
    /// What an event says; `None`: of no interest.
    pub(in super::super) fn read(action: Option<&str>, actor: EventActor) -> Option<Self> {
        let operation = match action? {
            // As Podman says it.
            "loadfromarchive" => "load",
            "remove" => "delete",
            action => OPERATIONS.into_iter().find(|known| *known == action)?,
        };
        let mut attributes = actor.attributes.unwrap_or_default();
        Some(Self {
            operation,
            actor: actor.id.unwrap_or_default(),
            name: attributes.remove("name").unwrap_or_default(),
        })
    }

    /// By what the engine may be asked about it.
    pub(in super::super) fn key(&self) -> &str {
        let key = [&self.actor, &self.name];
        key.into_iter()
            .find(|it| !it.is_empty())
            .map_or("", |it| it)
    }

    /// Whether the engine no longer knows what the event is about.
    pub(in super::super) fn is_gone(&self) -> bool {
        matches!(self.operation, "delete" | "untag")
    }

    /// The image, with what the engine says of it where it knows it; `None` where nothing says which it is.
    pub(in super::super) fn image(self, inspected: Option<ImageInspect>) -> Option<Image> {
        let is_known = inspected.is_some() || self.is_gone();
        let inspected = inspected.unwrap_or_default();
        let tags = inspected.repo_tags.unwrap_or_default();
        let id = inspected
            .id
            .or_else(|| is_id(&self.actor).then_some(self.actor.clone()));
        let id = id.map(|id| format!("sha256:{}", id.trim_start_matches("sha256:")));
        let named = [&self.actor, &self.name];
        let named = named.into_iter().find(|it| !it.is_empty() && !is_id(it));
        let mut image = match named {
            Some(named) if !is_known => {
                return Some(answer::called(named, id.into_iter().collect()));
            }
            Some(named) => answer::image(Some(whole(named, &tags)), id.as_deref())?,
            None => {
                let mut image = answer::image(tags.first().map(String::as_str), id.as_deref())?;
                let named = tags.iter().filter_map(|it| answer::image(Some(it), None));
                let same = named.filter(|it| it.name == image.name);
                image.tag = same.flat_map(|it| it.tag).collect();
                image
            }
        };
        // What a registry calls it goes before what it is called here.
        let digests = inspected.repo_digests.unwrap_or_default();
        let digests = digests.iter().filter_map(|it| it.split_once('@'));
        let own = digests.filter(|(name, _)| *name == image.name);
        let mut all: Vec<String> = own.map(|(_, digest)| digest.to_owned()).collect();
        let said = image.hash.take().map(|hash| hash.all).unwrap_or_default();
        all.extend(said);
        let mut seen = Vec::new();
        all.retain(|it| {
            !seen.contains(it) && {
                seen.push(it.clone());
                true
            }
        });
        image.hash = (!all.is_empty()).then_some(ImageHash { all });
        Some(image)
    }
}

/// What was asked for, as the engine has it in full: Podman says `shop/web` of `localhost/shop/web:latest`.
fn whole<'a>(named: &'a str, tags: &'a [String]) -> &'a str {
    let latest = format!("{named}:latest");
    let is_it = |tag: &&String| {
        [named, &latest].into_iter().any(|named| {
            let head = tag.strip_suffix(named);
            head.is_some_and(|head| head.is_empty() || head.ends_with('/'))
        })
    };
    tags.iter().find(is_it).map_or(named, String::as_str)
}

fn is_id(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.starts_with("sha256:") || text.len() == ID_DIGITS && is_hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(action: &str, id: &str, name: &str, inspected: Option<Value>) -> Image {
        let actor = json!({"ID": id, "Attributes": {"name": name}});
        let actor = serde_json::from_value(actor).unwrap();
        let happened = Happened::read(Some(action), actor).unwrap();
        let inspected = inspected.map(|it| serde_json::from_value(it).unwrap());
        happened.image(inspected).unwrap()
    }

    fn shown(image: &Image) -> (&str, Vec<&str>, Vec<&str>) {
        let hash = image.hash.iter().flat_map(|hash| &hash.all);
        let tag = image.tag.iter().map(String::as_str);
        (
            &image.name,
            tag.collect(),
            hash.map(String::as_str).collect(),
        )
    }

    #[test]
    fn what_docker_says_is_understood() {
        let digest = "r:5000/a@sha256:dd";
        let inspected = json!({"Id": "sha256:ab", "RepoTags": ["r:5000/a:1", "r:5000/a:2", "b:1"],
            "RepoDigests": [digest, "b@sha256:ee"]});
        let pulled = read("pull", "r:5000/a:1", "r:5000/a", Some(inspected.clone()));
        let both = vec!["sha256:dd", "sha256:ab"];
        assert_eq!(shown(&pulled), ("r:5000/a", vec!["1"], both.clone()));
        // The names of what is loaded are not told, but asked for.
        let loaded = read("load", "sha256:ab", "sha256:ab", Some(inspected.clone()));
        assert_eq!(shown(&loaded), ("r:5000/a", vec!["1", "2"], both));
        let tagged = read("tag", "sha256:ab", "b:1", Some(inspected));
        assert_eq!(shown(&tagged).2, ["sha256:ee", "sha256:ab"]);
        let gone = read("delete", "sha256:ab", "sha256:ab", None);
        assert_eq!(shown(&gone), ("sha256:ab", vec![], vec!["sha256:ab"]));
    }

    #[test]
    fn what_podman_says_is_understood() {
        let id = "0123456789abcdef".repeat(4);
        let digest = format!("sha256:{id}");
        let tags = json!({"Id": digest, "RepoTags": ["localhost/shop/web:latest"]});
        let named = ("localhost/shop/web", vec!["latest"], vec![&*digest]);
        assert_eq!(shown(&read("tag", &id, "shop/web", Some(tags))), named);
        let gone = read("untag", &id, "localhost/shop/web:latest", None);
        assert_eq!(shown(&gone), named);
        // It says only from where, and asked for that it knows nothing.
        let loaded = read("loadfromarchive", "", "/tmp/a:b.tar", None);
        assert_eq!(shown(&loaded), ("/tmp/a:b.tar", vec![], vec![]));
    }

    #[test]
    fn what_is_of_no_interest_is_left_out() {
        for action in ["save", "push", "mount", ""] {
            assert!(Happened::read(Some(action), EventActor::default()).is_none());
        }
        let nothing = Happened::read(Some("load"), EventActor::default()).unwrap();
        assert_eq!(nothing.key(), "");
        assert_eq!(nothing.image(None), None);
    }
}
