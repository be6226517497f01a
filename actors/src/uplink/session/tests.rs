use std::time::Duration;

use holdfast_wire::event::Container;
use holdfast_wire::frame::Priority;
use serde_json::json;
use tokio::time::Instant;

use super::super::identity::Identity;
use crate::runtime::table::Details;

mod sensor;
mod server;

use sensor::Sensor;
use server::{Answer, Server, enrolled, usual};

/// The events of all frames of a priority, in the order in which they came.
fn came(server: &Server, priority: Priority) -> Vec<String> {
    let frames = server.asked("/frames").into_iter();
    let of_priority = frames.filter(|it| it.frame().priority == priority);
    of_priority.flat_map(|it| it.events()).collect()
}

#[tokio::test]
async fn alerts_go_at_once_and_events_once_they_are_enough_or_have_waited() {
    const INTERVAL: Duration = Duration::from_millis(800);
    let server = Server::start(|request, _| usual(request)).await;
    let began = Instant::now();
    let sensor = Sensor::talking(&server.address, |settings| {
        settings.batch_events = 3;
        settings.batch_interval = INTERVAL;
    });
    sensor.put(Priority::Event, &["e1", "e2"]);
    sensor.put(Priority::Alert, &["a1"]);
    sensor.until_sent().await;
    let frames = server.asked("/frames");
    assert_eq!(frames[0].events(), ["a1"]);
    assert!(frames[0].at < began + INTERVAL);
    assert_eq!(frames[1].events(), ["e1", "e2"]);
    assert!(frames[1].at >= began + INTERVAL);

    let again = Instant::now();
    sensor.put(Priority::Event, &["e3", "e4", "e5", "e6"]);
    let is_there = || server.asked("/frames").len() == 3;
    sensor.until("as many as a batch has", is_there).await;
    assert!(again.elapsed() < INTERVAL / 2);
    sensor.until_sent().await;
    assert_eq!(
        came(&server, Priority::Event),
        ["e1", "e2", "e3", "e4", "e5", "e6"]
    );
}

#[tokio::test]
async fn what_waited_goes_alerts_first() {
    let server = Server::start(|request, _| usual(request)).await;
    let mut sensor = Sensor::new(&server.address, |settings| settings.batch_events = 2);
    sensor.put(Priority::Event, &["e1", "e2", "e3"]);
    sensor.put(Priority::Alert, &["a1", "a2", "a3"]);
    sensor.talk();
    sensor.until_sent().await;
    let frames: Vec<_> = server
        .asked("/frames")
        .iter()
        .map(|it| it.events())
        .collect();
    assert_eq!(
        frames,
        [vec!["a1", "a2"], vec!["a3"], vec!["e1", "e2"], vec!["e3"]]
    );
}

#[tokio::test]
async fn a_new_token_is_shown_from_then_on_and_kept() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/heartbeat", 0) => Answer::ok(&json!({"token": "t-2", "heartbeat_seconds": 1})),
        _ => usual(request),
    })
    .await;
    let sensor = Sensor::talking(&server.address, |_| ());
    let twice = || server.asked("/heartbeat").len() == 2;
    sensor.until("it is heard again", twice).await;
    let tokens: Vec<_> = server
        .asked("/heartbeat")
        .into_iter()
        .map(|it| it.token)
        .collect();
    assert_eq!(tokens, ["t-1", "t-2"]);
    let kept = Identity::load(sensor.directory.path()).unwrap().unwrap();
    assert_eq!(kept.token.expose(), "t-2");
}

#[tokio::test]
async fn who_is_not_known_any_more_enrols_again_by_the_token_that_it_had() {
    for status in [401, 409] {
        let server = Server::start(
            move |request, number| match (request.path.as_str(), number) {
                ("/frames", 0) => Answer::refused(status),
                ("/enrol", 1) => Answer::ok(&enrolled("t-2", 7)),
                _ => usual(request),
            },
        )
        .await;
        let sensor = Sensor::talking(&server.address, |_| ());
        sensor.put(Priority::Alert, &["a1"]);
        sensor.until_sent().await;
        let enrolled = server.asked("/enrol");
        assert_eq!(enrolled.len(), 2, "{status}");
        assert!(enrolled[0].json().get("previous_token").is_none());
        assert_eq!(enrolled[1].json()["previous_token"], "t-1");
        let tokens: Vec<_> = server
            .asked("/frames")
            .into_iter()
            .map(|it| it.token)
            .collect();
        assert_eq!(tokens, ["t-1", "t-2"]);
        assert_eq!(sensor.lost(), 0);
    }
}

#[tokio::test]
async fn a_server_with_another_key_for_bundles_gets_nothing() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/frames", _) => Answer::refused(401),
        ("/enrol", 1..) => Answer::ok(&enrolled("t-2", 8)),
        _ => usual(request),
    })
    .await;
    let sensor = Sensor::talking(&server.address, |_| ());
    sensor.put(Priority::Alert, &["a1"]);
    let says = || {
        sensor
            .degraded("uplink")
            .is_some_and(|why| why.contains("uplink.json"))
    };
    sensor.until("it says so", says).await;
    assert!(server.asked("/frames").iter().all(|it| it.token == "t-1"));
    let kept = Identity::load(sensor.directory.path()).unwrap().unwrap();
    assert_eq!((kept.token.expose(), sensor.lost()), ("t-1", 0));
}

#[tokio::test]
async fn an_event_that_is_refused_is_lost_alone() {
    let server = Server::start(|request, _| {
        let is_bad = request.path == "/frames" && request.events().contains(&"bad".to_owned());
        if is_bad {
            Answer::refused(400)
        } else {
            usual(request)
        }
    })
    .await;
    let mut sensor = Sensor::new(&server.address, |_| ());
    sensor.put(Priority::Alert, &["a1", "a2", "bad", "a3", "a4"]);
    sensor.talk();
    sensor.until_sent().await;
    assert_eq!(sensor.lost(), 1);
    let taken = server.asked("/frames").into_iter();
    let taken = taken
        .map(|it| it.events())
        .filter(|it| !it.contains(&"bad".to_owned()));
    assert_eq!(
        taken.flatten().collect::<Vec<_>>(),
        ["a1", "a2", "a3", "a4"]
    );
}

#[tokio::test]
async fn answers_that_are_none_of_a_server_lose_nothing() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        // A proxy's, a portal's, one that breaks off, one that makes no sense.
        ("/frames", 0) => Answer::new(400, "text/html", "<h1>Bad Request</h1>"),
        ("/frames", 1) => Answer::new(200, "text/html", "<h1>Log in</h1>"),
        ("/frames", 2) => usual(request).cut(),
        ("/frames", 3) => Answer::ok(&json!({"acknowledged": "all"})),
        _ => usual(request),
    })
    .await;
    let sensor = Sensor::talking(&server.address, |_| ());
    sensor.put(Priority::Alert, &["a1", "a2"]);
    sensor.until_sent().await;
    assert_eq!(sensor.lost(), 0);
    let frames = server.asked("/frames");
    assert!(
        frames
            .iter()
            .all(|it| it.frame().entries == frames[0].frame().entries)
    );
    sensor
        .until("it is well again", || sensor.degraded("uplink").is_none())
        .await;
}

#[tokio::test]
async fn more_than_was_sent_is_not_taken_for_acknowledged_and_less_is_sent_again() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/frames", 0) => Answer::ok(&json!({"acknowledged": u64::MAX})),
        ("/frames", 1) => {
            let first = request.frame().entries[0].sequence;
            Answer::ok(&json!({"acknowledged": first}))
        }
        _ => usual(request),
    })
    .await;
    let mut sensor = Sensor::new(&server.address, |settings| settings.batch_events = 2);
    sensor.put(Priority::Alert, &["a1", "a2", "a3", "a4"]);
    sensor.talk();
    sensor.until_sent().await;
    let frames: Vec<_> = server
        .asked("/frames")
        .iter()
        .map(|it| it.events())
        .collect();
    assert_eq!(frames, [vec!["a1", "a2"], vec!["a3", "a4"], vec!["a4"]]);
    assert_eq!(sensor.lost(), 0);
}

#[tokio::test]
async fn frames_keep_to_the_bandwidth() {
    const RATE: u64 = 2000;
    let server = Server::start(|request, _| usual(request)).await;
    let mut sensor = Sensor::new(&server.address, |settings| {
        settings.bandwidth = RATE;
        settings.batch_events = 1;
    });
    // Little of it can be compressed.
    let random: String = std::iter::successors(Some(7_u64), |it| {
        Some(
            it.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    })
    .take(100)
    .map(|it| format!("{it:x}"))
    .collect();
    sensor.put(Priority::Alert, &[&random, &random, &random]);
    sensor.talk();
    sensor.until_sent().await;
    let frames = server.asked("/frames");
    let before_last: usize = frames[..2].iter().map(|it| it.body.len()).sum();
    let least = Duration::from_secs_f64(before_last as f64 / RATE as f64);
    assert!(least > Duration::from_millis(500), "{least:?}");
    // The server notes a frame a little later than it was sent.
    let took = frames[2].at - frames[0].at;
    assert!(
        took + Duration::from_millis(100) >= least,
        "{took:?} {least:?}"
    );
}

#[tokio::test]
async fn a_bundle_that_is_refused_is_told_of_and_not_fetched_at_each_heartbeat() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/heartbeat" => Answer::ok(&json!({"bundle": 5, "heartbeat_seconds": 1})),
        "/bundle/5" => Answer::ok(&json!({"payload": "e30=", "signature": "AAAA"})),
        _ => usual(request),
    })
    .await;
    let sensor = Sensor::talking(&server.address, |_| ());
    let often = || server.asked("/heartbeat").len() == 4;
    sensor.until("it is heard often", often).await;
    assert_eq!(server.asked("/bundle/5").len(), 1);
    let heard = server.asked("/heartbeat");
    assert_eq!(heard[0].json()["policy"]["error"], json!(null));
    assert!(heard[1].json()["policy"]["error"].is_string());
    let why = sensor.degraded("uplink.bundle").unwrap();
    assert!(why.contains("bundle 5"), "{why}");
}

#[tokio::test]
async fn a_heartbeat_says_which_containers_run() {
    let server = Server::start(|request, _| usual(request)).await;
    let mut sensor = Sensor::new(&server.address, |_| ());
    for (id, runs) in [("c0ffee", true), ("dead", false)] {
        let details = Details {
            container: Container {
                id: id.to_owned(),
                name: Some("web".to_owned()),
                ..Default::default()
            },
            ..Default::default()
        };
        sensor.shared.containers.tell("docker", details);
        if runs {
            sensor.shared.containers.start(id, "docker", None, None);
        }
    }
    sensor.talk();
    let heard = || !server.asked("/heartbeat").is_empty();
    sensor.until("it is heard", heard).await;
    assert_eq!(
        server.asked("/heartbeat")[0].json()["containers"],
        json!({"total": 1, "list": [{"id": "c0ffee", "name": "web"}]})
    );
}
