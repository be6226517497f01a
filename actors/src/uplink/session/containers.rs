//! Which containers run, within what a heartbeat may have.

use holdfast_wire::event::Image;
use holdfast_wire::uplink::{Container, Containers, MAX_CONTAINERS, MAX_CONTAINERS_BYTES};

use crate::runtime::table::Details;

/// The containers of `running`, in the order of their ids.
pub(super) fn told(running: impl IntoIterator<Item = Details>) -> Containers {
    let mut all: Vec<_> = running.into_iter().map(container).collect();
    all.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let total = all.len() as u64;
    let mut room = MAX_CONTAINERS_BYTES;
    let fits = |container: &Container| {
        // It is texts alone.
        let bytes = serde_json::to_vec(container).map_or(0, |it| it.len() + 1);
        room.checked_sub(bytes).map(|rest| room = rest).is_some()
    };
    let list = all.into_iter().take(MAX_CONTAINERS).take_while(fits);
    Containers {
        total,
        list: list.collect(),
    }
}

fn container(of: Details) -> Container {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let pod = of.pod.unwrap_or_default();
    Container {
        id: of.container.id,
        name: of.container.name,
        image: of.container.image.as_ref().map(Image::reference),
        runtime: of.container.runtime.map(str::to_owned),
        namespace: some(pod.namespace),
        pod: some(pod.name),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::event;

    use super::*;
    use crate::runtime::table::Pod;

    fn details(id: &str, name: &str) -> Details {
        Details {
            container: event::Container {
                id: id.to_owned(),
                name: Some(name.to_owned()),
                runtime: Some("docker"),
                image: Some(Image {
                    name: "nginx".to_owned(),
                    tag: vec!["1.27".to_owned(), "latest".to_owned()],
                    hash: None,
                }),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn a_container_is_called_as_in_its_events() {
        let in_pod = Details {
            pod: Some(Pod {
                name: "shop-1".to_owned(),
                namespace: "shop".to_owned(),
                ..Default::default()
            }),
            ..details("b", "web")
        };
        let told = told([in_pod, details("a", "db")]);
        let ids: Vec<_> = told.list.iter().map(|it| it.id.as_str()).collect();
        assert_eq!((told.total, ids), (2, vec!["a", "b"]));
        assert_eq!(told.list[0].pod, None);
        assert_eq!(
            serde_json::to_value(&told.list[1]).unwrap(),
            serde_json::json!({"id": "b", "name": "web", "image": "nginx:1.27", "runtime": "docker", "namespace": "shop", "pod": "shop-1"})
        );
    }

    #[test]
    fn there_are_no_more_than_a_message_takes_and_all_are_counted() {
        let many = |name: &str| {
            let all = (0..600).map(|number| details(&format!("{number:064}"), name));
            told(all.collect::<Vec<_>>())
        };
        let short = many("web");
        assert_eq!((short.total, short.list.len()), (600, MAX_CONTAINERS));
        let long = many(&"x".repeat(1000));
        let bytes = serde_json::to_vec(&long.list).unwrap().len();
        assert!(long.total == 600 && !long.list.is_empty());
        assert!(
            (MAX_CONTAINERS_BYTES - 2000..=MAX_CONTAINERS_BYTES + 2).contains(&bytes),
            "{bytes}"
        );
    }
}
