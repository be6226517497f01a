use holdfast_wire::uplink::Enrol;
use serde_json::json;

use super::*;
use crate::bundle::Draft;
use crate::store::keys::{self, NewKey};
use crate::store::sensors;
use crate::store::test::{both, empty};

const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"shadow",
 "rules":[{"id":"r","on":["file.open"],"when":"file.path == '/etc/shadow'","action":"deny"}]}"#;
const SECOND: i64 = 1000;

/// A store with `count` bundles and `fleet` sensors with the tag `web`.
struct Store {
    connection: Connection,
    signer: Signer,
    now: i64,
}

impl Store {
    fn new(bundles: usize, fleet: usize) -> Self {
        let connection = empty();
        let signer = Signer::new(&[7; 32]).unwrap();
        let draft = Draft {
            file: "a.json".into(),
            text: POLICY.into(),
        };
        for number in 1..=bundles {
            let name = format!("b{number}");
            let drafts = std::slice::from_ref(&draft);
            bundle::create(&connection, &signer, &name, drafts, "ada", 0).unwrap();
        }
        let key = NewKey {
            tags: vec!["web".into()],
            ..NewKey::default()
        };
        keys::create(&connection, &[1; 32], &key, 0).unwrap();
        let store = Self {
            connection,
            signer,
            now: 1_000_000,
        };
        for number in 0..fleet {
            store.enrol(number);
        }
        store
    }

    fn enrol(&self, number: usize) {
        let message: Enrol = serde_json::from_value(json!({
            "installation_key": "k", "host_id": format!("h{number}"), "host_name": format!("h{number}"),
            "version": "", "architecture": "", "kernel": ""}))
        .unwrap();
        let offer = sensors::Offer {
            key: [1; 32],
            token: secret::hash(&format!("t{number}")),
            void: secret::hash(&format!("v{number}")),
            new_id: format!("s{number}"),
        };
        sensors::enrol(&self.connection, &message, &offer, self.now).unwrap();
    }

    fn assign(&self, tag: &str, version: i64) -> i64 {
        let assigned = bundle::assign(
            &self.connection,
            &self.signer,
            tag,
            version,
            "ada",
            self.now,
        );
        assigned.unwrap().unwrap()
    }

    fn start(
        &self,
        tag: &str,
        version: i64,
        stages: serde_json::Value,
    ) -> Result<(i64, i64), Unfit> {
        let plan = Plan {
            tag: tag.into(),
            version,
            stages: serde_json::from_value(stages).unwrap(),
            limit_percent: 20,
        };
        start(&self.connection, &self.signer, &plan, "ada", self.now).unwrap()
    }

    fn rows(&self) -> Vec<i64> {
        let all = sensors::list(&self.connection, 0, 1000).unwrap();
        all.iter().map(|sensor| sensor.row).collect()
    }

    /// The version that each sensor is to have.
    fn wanted(&self) -> Vec<Option<i64>> {
        let of = |row: &i64| bundles::of_sensor(&self.connection, *row).unwrap();
        self.rows().iter().map(of).collect()
    }

    fn having(&self, version: i64) -> usize {
        self.wanted()
            .iter()
            .filter(|it| **it == Some(version))
            .count()
    }

    /// `seconds` pass, all sensors say that they have what they are to have, `failing` that they refused it, and the
    /// roll-outs are looked at.
    fn pass(&mut self, seconds: i64, failing: &[i64]) {
        self.now += seconds * SECOND;
        for row in self.rows() {
            let wanted = bundles::of_sensor(&self.connection, row).unwrap();
            let (bundle, error) = match failing.contains(&row) {
                true => (None, Some("no")),
                false => (wanted, None),
            };
            let heartbeat = json!({"version": "", "tier": "lsm", "mode": "enforce",
                                   "policy": {"revision": 1, "bundle": bundle, "error": error}});
            let said = sensors::Said {
                version: String::new(),
                heartbeat: heartbeat.to_string(),
                ledger: "{}".to_owned(),
                containers: None,
            };
            sensors::heard(&self.connection, row, &said, self.now).unwrap();
        }
        step(&self.connection, 0, self.now).unwrap();
    }

    fn state(&self, id: i64) -> (String, i64) {
        let rollout = rollouts::one(&self.connection, id).unwrap().unwrap();
        (rollout.state, rollout.stage)
    }

    fn wish(&self, id: i64, what: Wish) -> Result<i64, Unfit> {
        wish(&self.connection, &self.signer, id, what, "ada", 0, self.now).unwrap()
    }
}

fn three() -> serde_json::Value {
    json!([{"sensors": 1, "wait_seconds": 60}, {"percent": 25.0, "wait_seconds": 60}, {"percent": 100, "wait_seconds": 60}])
}

fn is(state: &str, stage: i64) -> (String, i64) {
    (state.to_owned(), stage)
}

#[test]
fn it_comes_to_more_in_each_stage_and_is_assigned_at_the_end() {
    both(|| {
        let mut store = Store::new(2, 10);
        store.assign("web", 1);
        let (id, version) = store.start("web", 2, three()).unwrap();
        assert_eq!((version, store.having(2), store.having(1)), (2, 1, 9));
        store.pass(59, &[]);
        assert_eq!((store.state(id), store.having(2)), (is("running", 0), 1));
        store.pass(1, &[]);
        assert_eq!((store.state(id), store.having(2)), (is("running", 1), 3));
        store.pass(60, &[]);
        assert_eq!((store.state(id), store.having(2)), (is("running", 2), 10));
        store.pass(60, &[]);
        assert_eq!(store.state(id), is("finished", 2));
        assert_eq!(
            bundles::assigned(&store.connection, "web").unwrap(),
            Some(2)
        );
        store.enrol(99);
        assert_eq!(store.having(2), 11);
    });
}

#[test]
fn those_of_the_lowest_hashes_are_first_whoever_enrolled_first() {
    both(|| {
        let store = Store::new(1, 10);
        store.start("web", 1, three()).unwrap();
        let mut all = sensors::list(&store.connection, 0, 1000).unwrap();
        all.sort_by_key(|sensor| secret::hash(&sensor.sensor_id));
        let first = bundles::of_sensor(&store.connection, all[0].row).unwrap();
        assert_eq!((first, store.having(1)), (Some(1), 1));
    });
}

#[test]
fn it_halts_where_more_fail_than_may_and_goes_on_when_it_is_told_to() {
    both(|| {
        let mut store = Store::new(2, 10);
        store.assign("web", 1);
        let (id, _) = store.start("web", 2, three()).unwrap();
        let first = store.rows()[store.wanted().iter().position(|it| *it == Some(2)).unwrap()];
        store.pass(10, &[first]);
        assert_eq!((store.state(id), store.having(2)), (is("halted", 0), 1));
        let rollout = rollouts::one(&store.connection, id).unwrap().unwrap();
        assert!(
            rollout.reason.contains("1 of 1 sensors failed"),
            "{}",
            rollout.reason
        );
        store.pass(600, &[first]);
        assert_eq!(store.state(id), is("halted", 0));
        assert!(store.wish(id, Wish::Halt).is_err());
        store.wish(id, Wish::Resume).unwrap();
        store.pass(1, &[first]);
        assert_eq!((store.state(id), store.having(2)), (is("running", 1), 3));
    });
}

#[test]
fn rolled_back_its_sensors_have_the_former_content_in_a_version_above() {
    both(|| {
        let mut store = Store::new(2, 10);
        store.assign("web", 1);
        let (id, _) = store.start("web", 2, three()).unwrap();
        assert_eq!(store.wish(id, Wish::RollBack), Ok(3));
        assert_eq!(
            (store.state(id), store.having(3)),
            (is("rolled-back", 0), 10)
        );
        let origin = |version| {
            let all = bundles::list(&store.connection, 9).unwrap();
            all.iter().find(|it| it.version == version).unwrap().origin
        };
        assert_eq!(origin(3), Some(1));
        assert!(store.wish(id, Wish::RollBack).is_err());
        // After the end as well, as long as nothing else is assigned.
        let (id, version) = store
            .start("web", 2, json!([{"percent": 100, "wait_seconds": 0}]))
            .unwrap();
        assert_eq!(version, 4);
        store.pass(1, &[]);
        assert_eq!(store.state(id), is("finished", 0));
        assert_eq!(store.wish(id, Wish::RollBack), Ok(5));
        assert_eq!(store.having(5), 10);
    });
}

#[test]
fn rolled_back_where_nothing_was_they_have_what_is_for_all_or_nothing() {
    both(|| {
        let store = Store::new(2, 4);
        let (id, _) = store.start("web", 2, three()).unwrap();
        let empty = store.wish(id, Wish::RollBack).unwrap();
        assert_eq!((empty, store.having(empty)), (3, 4));
        let stored = bundles::one(&store.connection, empty).unwrap().unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&stored.payload).unwrap();
        assert_eq!(
            (&payload["policies"], &payload["rollback"]),
            (&json!([]), &json!(true))
        );

        let store = Store::new(2, 4);
        store.assign("", 1);
        let (id, _) = store.start("web", 2, three()).unwrap();
        let above = store.wish(id, Wish::RollBack).unwrap();
        assert_eq!((above, store.having(above)), (3, 4));
    });
}

#[test]
fn a_sensor_that_has_something_newer_by_now_is_not_waited_for() {
    both(|| {
        let mut store = Store::new(3, 4);
        store.assign("web", 1);
        let (id, _) = store
            .start(
                "web",
                2,
                json!([{"sensors": 2, "wait_seconds": 60}, {"percent": 100, "wait_seconds": 60}]),
            )
            .unwrap();
        let rows = store.rows();
        let first = rows[store.wanted().iter().position(|it| *it == Some(2)).unwrap()];
        let name = format!("s{}", first - 1);
        sensors::tag(&store.connection, &name, &["web".into(), "db".into()]).unwrap();
        store.assign("db", 3);
        store.pass(60, &[]);
        assert_eq!((store.state(id), store.having(2)), (is("running", 1), 3));
    });
}

#[test]
fn what_others_have_stays_above_what_a_roll_out_gave() {
    both(|| {
        let mut store = Store::new(3, 4);
        store.assign("", 1);
        let (id, _) = store.start("", 2, three()).unwrap();
        store.assign("web", 3);
        assert_eq!(store.having(3), 4);
        bundle::unassign(&store.connection, &store.signer, "web", "ada", store.now).unwrap();
        // The one that it had come to has its content, the others that for all, each above 3.
        let wanted = store.wanted();
        assert!(wanted.iter().all(|it| it.unwrap() > 3), "{wanted:?}");
        let now = rollouts::one(&store.connection, id)
            .unwrap()
            .unwrap()
            .version;
        assert_eq!(store.having(now), 1);
        store.pass(60, &[]);
        assert_eq!(store.state(id), is("running", 1));
    });
}

#[test]
fn stages_that_make_no_sense_and_second_roll_outs_are_refused() {
    both(|| {
        let store = Store::new(2, 2);
        let stages = |value: serde_json::Value| store.start("web", 2, value);
        for wrong in [
            json!([]),
            json!([{"percent": 50, "wait_seconds": 0}]),
            json!([{"percent": 0, "wait_seconds": 0}, {"percent": 100, "wait_seconds": 0}]),
            json!([{"percent": 60, "wait_seconds": 0}, {"percent": 50, "wait_seconds": 0}, {"percent": 100, "wait_seconds": 0}]),
            json!([{"percent": 100, "wait_seconds": -1}]),
            json!([{"sensors": 5, "wait_seconds": 0}]),
        ] {
            assert!(
                matches!(stages(wrong.clone()), Err(Unfit::Stages(_))),
                "{wrong}"
            );
        }
        assert_eq!(
            store.start("none", 2, three()).unwrap_err().to_string(),
            "no sensor goes by what is assigned to this target"
        );
        assert_eq!(
            store.start("web", 9, three()),
            Err(Unfit::Unknown("bundle"))
        );
        assert!(rollouts::going_on(&store.connection).unwrap().is_empty());
        store.start("web", 2, three()).unwrap();
        assert!(matches!(
            store.start("web", 1, three()),
            Err(Unfit::Conflict(_))
        ));
    });
}
