//! Roll-outs, with sensors that say how they are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::POLICY;
use std::path::Path;

use super::harness::{Sensor, Server, both, printed};

struct Fleet {
    server: Server,
    token: String,
    sensors: Vec<Sensor>,
}

impl Fleet {
    /// Ten sensors with the tag `web`, which have version 1; version 2 is there.
    fn new(data: &Path) -> Self {
        let server = Server::start(data);
        let key = printed(data, &["key", "create", "--tag", "web"]);
        let token = printed(data, &["token", "create", "t", "--role", "admin"]);
        let sensors = (0..10)
            .map(|number| server.sensor(&key, &format!("h{number}")))
            .collect();
        let fleet = Self {
            server,
            token,
            sensors,
        };
        for name in ["one", "two"] {
            let drafts = json!({"name": name, "policies": [{"file": "a.json", "text": POLICY}]});
            assert_eq!(fleet.post("/bundles", &drafts).0, 200);
        }
        let assigned = fleet.server.send(
            "PUT",
            "/api/v1/assignments",
            &fleet.token,
            &json!({"target": "tag:web", "version": 1}),
        );
        assert_eq!(assigned.status, 200);
        for sensor in &fleet.sensors {
            assert_eq!(fleet.beat(sensor, Some(1), None), 1);
        }
        fleet
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/api/v1{path}");
        let answer = self.server.send("POST", &path, &self.token, body);
        (answer.status, answer.json())
    }

    /// Says that a sensor has this bundle, or why it refused one; the version that it is to have.
    fn beat(&self, sensor: &Sensor, bundle: Option<u64>, error: Option<&str>) -> u64 {
        let heartbeat = json!({"version": "0.1.0", "tier": "lsm", "mode": "enforce",
                               "policy": {"revision": 1, "bundle": bundle, "error": error}});
        let answer = self
            .server
            .send("POST", "/uplink/v1/heartbeat", &sensor.token, &heartbeat);
        answer.json()["bundle"].as_u64().unwrap()
    }

    /// All sensors take what they are to have, and say so; how many have `version`.
    fn take(&self, version: u64) -> usize {
        let take = |sensor: &&Sensor| {
            let wanted = self.beat(sensor, Some(1), None);
            self.beat(sensor, Some(wanted), None);
            wanted == version
        };
        self.sensors.iter().filter(take).count()
    }

    fn rollout(&self, id: u64) -> Value {
        let path = format!("/api/v1/rollouts/{id}");
        self.server.get(&path, &self.token).json()
    }

    fn until(&self, id: u64, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let rollout = self.rollout(id);
            if condition(&rollout) {
                return rollout;
            }
            assert!(Instant::now() < end, "{rollout}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn plan(wait: u64) -> Value {
    json!({"target": "tag:web", "version": 2, "limit_percent": 10,
           "stages": [{"sensors": 1, "wait_seconds": wait}, {"percent": 30, "wait_seconds": wait},
                      {"percent": 100, "wait_seconds": wait}]})
}

#[test]
fn a_bundle_comes_to_a_few_and_then_to_all() {
    both(|data| {
        let fleet = Fleet::new(data);
        let (status, begun) = fleet.post("/rollouts", &plan(0));
        assert_eq!((status, &begun["version"]), (200, &json!(2)), "{begun}");
        let id = begun["id"].as_u64().unwrap();
        // Nobody has said anything: one has it, and no more get it.
        std::thread::sleep(Duration::from_secs(3));
        let rollout = fleet.rollout(id);
        assert_eq!(
            (
                &rollout["stage"],
                &rollout["sensors"]["reached"],
                &rollout["sensors"]["all"]
            ),
            (&json!(0), &json!(1), &json!(10))
        );
        assert_eq!(fleet.take(2), 1);
        fleet.until(id, |rollout| rollout["stage"] == 1);
        assert_eq!(fleet.take(2), 3);
        fleet.until(id, |rollout| rollout["stage"] == 2);
        assert_eq!(fleet.take(2), 10);
        fleet.until(id, |rollout| rollout["state"] == "finished");
        let bundles = fleet.server.get("/api/v1/bundles", &fleet.token).json();
        assert_eq!(
            bundles["assignments"],
            json!([{"target": "tag:web", "version": 2}])
        );
        let audit = fleet.server.get("/api/v1/audit", &fleet.token).json();
        let actions: Vec<_> = audit["lines"].as_array().unwrap().iter().collect();
        for (actor, action) in [
            ("token:t", "rollout.start"),
            ("roll-out", "rollout.stage"),
            ("roll-out", "rollout.finish"),
        ] {
            let found = actions
                .iter()
                .any(|line| line["actor"] == actor && line["action"] == action);
            assert!(found, "{action}");
        }
    });
}

#[test]
fn a_sensor_that_refuses_it_halts_it_and_rolling_back_returns_the_former_one() {
    both(|data| {
        let fleet = Fleet::new(data);
        let (_, begun) = fleet.post("/rollouts", &plan(0));
        let id = begun["id"].as_u64().unwrap();
        let first = fleet
            .sensors
            .iter()
            .find(|sensor| fleet.beat(sensor, Some(1), None) == 2)
            .unwrap();
        fleet.beat(first, Some(1), Some("the name credentials is taken"));
        let halted = fleet.until(id, |rollout| rollout["state"] == "halted");
        assert!(
            halted["reason"]
                .as_str()
                .unwrap()
                .contains("the name credentials is taken"),
            "{halted}"
        );
        assert_eq!(halted["failures"][0]["sensor"], first.id);
        // It stays where it is, and nothing else can be done to its target meanwhile.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(fleet.rollout(id)["sensors"]["reached"], 1);
        assert_eq!(fleet.post("/rollouts", &plan(0)).0, 409);
        let assignment = json!({"target": "tag:web", "version": 2});
        let assigned = fleet
            .server
            .send("PUT", "/api/v1/assignments", &fleet.token, &assignment);
        assert_eq!(assigned.status, 409);

        let (status, back) = fleet.post(&format!("/rollouts/{id}/rollback"), &json!({}));
        assert_eq!((status, &back["version"]), (200, &json!(3)));
        assert_eq!(fleet.rollout(id)["state"], "rolled-back");
        assert_eq!(fleet.beat(first, Some(1), None), 3);
        let bundle = fleet.server.get("/api/v1/bundles/3", &fleet.token).json();
        assert_eq!(
            (&bundle["name"], &bundle["rollback"]),
            (&json!("one"), &json!(true))
        );
        assert_eq!(fleet.take(3), 10);
        assert_eq!(
            fleet.post(&format!("/rollouts/{id}/resume"), &json!({})).0,
            409
        );
        assert_eq!(fleet.post("/rollouts/99/halt", &json!({})).0, 404);
    });
}

#[test]
fn only_admins_roll_out_and_what_makes_no_sense_changes_nothing() {
    both(|data| {
        let fleet = Fleet::new(data);
        let analyst = printed(data, &["token", "create", "a", "--role", "analyst"]);
        let answer = fleet
            .server
            .send("POST", "/api/v1/rollouts", &analyst, &plan(0));
        assert_eq!(answer.status, 403);
        let changed = |name: &str, value: Value| {
            let mut plan = plan(0);
            plan[name] = value;
            plan
        };
        for (status, wrong) in [
            (400, changed("target", json!("web"))),
            (
                400,
                changed("stages", json!([{"percent": 10, "wait_seconds": 0}])),
            ),
            (
                400,
                changed("stages", json!([{"percents": 100, "wait_seconds": 0}])),
            ),
            (
                400,
                changed(
                    "stages",
                    json!([{"percent": 100, "sensors": 1, "wait_seconds": 0}]),
                ),
            ),
            (400, changed("limit_percent", json!(101))),
            (400, changed("surplus", json!(1))),
            (404, changed("version", json!(99))),
            (409, changed("version", json!(1))),
            (409, changed("target", json!("tag:nobody"))),
        ] {
            let (found, said) = fleet.post("/rollouts", &wrong);
            assert_eq!(found, status, "{wrong}: {said}");
        }
        let list = fleet.server.get("/api/v1/rollouts", &analyst).json();
        assert_eq!(list, json!({"rollouts": []}));
    });
}
