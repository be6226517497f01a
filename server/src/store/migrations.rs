//! Stores of each earlier version, with rows: all of them are there once they have become stores of this one.

use super::connection::Connection;
use super::events::tests::{event, page, sent};
use super::events::{self, Filter};
use super::test::Cluster;
use super::value::{Param, params};
use super::{
    accounts, bundles, forwards, keys, postgres, prepare, processes, rollouts, sensors, sqlite,
};
use crate::auth::Role;

/// A time of the stored rows, within the partition of PostgreSQL that [`prepare`] makes first.
const NOW: i64 = 1000;

/// What each version has had, by the first one of SQLite and of PostgreSQL that has it.
const ROWS: [((usize, usize), &str); 12] = [
    ((1, 1), "INSERT INTO setting (name, value) VALUES ('bundle.seed', ?1)"),
    (
        (1, 1),
        "INSERT INTO \"user\" (id, name, password, role, created) VALUES (1, 'ada', 'hash', 'admin', 1000)",
    ),
    ((1, 1), "INSERT INTO session (hash, \"user\", expires) VALUES (?1, 1, 5000)"),
    (
        (1, 1),
        "INSERT INTO token (id, name, hash, role, created, expires) VALUES (1, 'grafana', ?1, 'read-only', 1000, NULL)",
    ),
    (
        (1, 1),
        "INSERT INTO audit (time, actor, address, action, detail) VALUES (1000, 'ada', '192.0.2.1', 'login', '')",
    ),
    (
        (1, 1),
        "INSERT INTO installation_key (id, hash, note, tags, uses_left, created, expires) VALUES (1, ?1, 'rack', 'web', 3, 1000, NULL)",
    ),
    (
        (1, 1),
        "INSERT INTO sensor (id, sensor_id, host_id, host_name, version, architecture, kernel, token, token_since, enrolled, seen, heartbeat, ledger)
         VALUES (1, 's-1', 'h-1', 'web-1', '0.1.0', 'x86_64', '6.1.0', ?1, 1000, 1000, 1000, '{\"tier\":\"lsm\"}', '{}')",
    ),
    ((1, 1), "INSERT INTO sensor_tag (sensor, tag) VALUES (1, 'web')"),
    (
        (1, 1),
        "INSERT INTO bundle (version, name, created, author, origin, payload, signature) VALUES (7, 'first', 1000, 'ada', NULL, ?1, ?1)",
    ),
    (
        (1, 1),
        "INSERT INTO assignment (tag, version, assigned, author) VALUES ('web', 7, 1000, 'ada')",
    ),
    (
        (2, 1),
        "INSERT INTO rollout (id, tag, version, former, stages, limit_percent, state, stage, stage_since, reason, author, created, ended)
         VALUES (1, 'web', 7, NULL, '[]', 5, 'halted', 0, 1000, 'too many', 'ada', 1000, NULL)",
    ),
    (
        (3, 1),
        "INSERT INTO forward (destination, alerts_only, position) VALUES ('webhook', 1, 1)",
    ),
];
/// Of those as well: the stream that the sensor sent, and an event and an alert of it.
const STREAM: &str = "INSERT INTO stream (id, sensor, stream) VALUES (1, 1, ?1)";
const EVENT: &str = "INSERT INTO event (stream, priority, sequence, received, time, alert, action, severity, rule, process, body)
    VALUES (1, 0, ?1, 1000, ?2, ?3, 'file.open', 3, 'shadow', 'cat', ?4)";
/// And what PostgreSQL has beside it.
const STORED: &str = "INSERT INTO stored (stream, priority, ranges) VALUES (1, 0, '1-2')";

/// What is a hash, a token, a key and a bundle in [`ROWS`].
const BYTES: [u8; 32] = [7; 32];

/// Puts rows into a store whose tables are those of a version; `of` says which of the two.
fn fill(connection: &Connection, version: usize, of: impl Fn((usize, usize)) -> usize) {
    for (since, statement) in ROWS {
        let bytes = params![BYTES];
        let values: &[Param<'_>] = if statement.contains("?1") { bytes } else { &[] };
        if of(since) <= version {
            connection.execute(statement, values).unwrap();
        }
    }
    connection.execute(STREAM, params![[1_u8; 16]]).unwrap();
    for sequence in [1_i64, 2] {
        let body = format!("{{\"n\":{sequence}}}");
        let (time, alert) = (sequence * 10, sequence == 2);
        let values = params![sequence, time, alert, body];
        connection.execute(EVENT, values).unwrap();
    }
}

/// All of it is there, and can be gone on with.
fn check(connection: &Connection, version: usize, of: impl Fn((usize, usize)) -> usize) {
    let what = format!("of version {version}");
    let has = |since| of(since) <= version;
    let users = accounts::users(connection).unwrap();
    assert_eq!((users.len(), users[0].name.as_str()), (1, "ada"), "{what}");
    let session = accounts::by_session(connection, &BYTES, NOW)
        .unwrap()
        .unwrap();
    assert_eq!(
        (session.name.as_str(), session.role),
        ("ada", Role::Admin),
        "{what}"
    );
    let token = accounts::by_token(connection, &BYTES, NOW)
        .unwrap()
        .unwrap();
    assert_eq!(
        (token.name.as_str(), token.role),
        ("token:grafana", Role::ReadOnly),
        "{what}"
    );
    let audited = accounts::audited(connection, i64::MAX, 9).unwrap();
    assert_eq!(
        (audited.len(), audited[0].action.as_str()),
        (1, "login"),
        "{what}"
    );
    let keys = keys::list(connection, NOW).unwrap();
    assert_eq!((keys.len(), keys[0].uses_left), (1, Some(3)), "{what}");
    let sensors = sensors::list(connection, 0, 9).unwrap();
    let sensor = &sensors[0];
    assert_eq!(sensors.len(), 1, "{what}");
    assert_eq!(
        (sensor.host_name.as_str(), &sensor.tags[..]),
        ("web-1", &["web".to_owned()][..])
    );
    assert_eq!(
        sensor.heartbeat.as_deref(),
        Some("{\"tier\":\"lsm\"}"),
        "{what}"
    );
    assert!(!sensor.may_enrol, "{what}");
    assert_eq!(
        sensors::by_token(connection, &BYTES).unwrap().unwrap().row,
        1,
        "{what}"
    );
    assert_eq!(
        bundles::seed(connection, &[0; 32]).unwrap(),
        BYTES,
        "{what}"
    );
    assert_eq!(
        bundles::one(connection, 7).unwrap().unwrap().payload,
        BYTES,
        "{what}"
    );
    assert_eq!(
        bundles::assigned(connection, "web").unwrap(),
        Some(7),
        "{what}"
    );
    let rollouts = rollouts::list(connection, 9).unwrap();
    assert_eq!(rollouts.len(), usize::from(has((2, 1))), "{what}");
    assert!(
        rollouts
            .iter()
            .all(|it| it.state == "halted" && it.version == 7)
    );
    let forward = forwards::one(connection, "webhook").unwrap();
    assert_eq!(
        forward.map(|it| it.position),
        has((3, 1)).then_some(1),
        "{what}"
    );

    let ids = |filter: &Filter| page(connection, filter, 9, usize::MAX).0;
    let alerts = Filter {
        alerts_only: true,
        ..Filter::default()
    };
    assert_eq!(
        (ids(&Filter::default()), ids(&alerts)),
        (vec![2, 1], vec![2]),
        "{what}"
    );
    let alert = events::one(connection, 2).unwrap().unwrap();
    assert_eq!(
        (alert.body.as_str(), alert.sensor_id.as_str()),
        ("{\"n\":2}", "s-1"),
        "{what}"
    );
    // Nobody knew then who started whom.
    let none = processes::started(connection, "s-1", "p", 0, 9, &Default::default()).unwrap();
    assert!(none.processes.is_empty(), "{what}");

    // What came is known, and what comes is taken.
    let again = [sent(1, 0, vec![event(2), event(4)])];
    assert_eq!(events::store(connection, &again, NOW).unwrap(), 1, "{what}");
    // SQLite leaves out the number that it had for the one that is there.
    let now = ids(&alerts);
    assert_eq!((now.len(), now[1]), (2, 2), "{what}");
    assert!(
        sensors::allow_enrolment(connection, "s-1").unwrap(),
        "{what}"
    );
}

#[test]
fn what_is_in_sqlite_goes_on_in_a_later_version() {
    for version in 1..=sqlite::schema::MIGRATIONS.len() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "foreign_keys", true)
            .unwrap();
        sqlite::schema::migrate_to(&mut connection, version).unwrap();
        let old = Connection::Sqlite(connection);
        fill(&old, version, |(sqlite, _)| sqlite);
        let Connection::Sqlite(mut connection) = old else {
            unreachable!("it was made above");
        };
        sqlite::schema::migrate(&mut connection).unwrap();
        check(&Connection::Sqlite(connection), version, |(sqlite, _)| {
            sqlite
        });
    }
}

#[test]
fn what_is_in_postgresql_goes_on_in_a_later_version() {
    let cluster = Cluster::start();
    for version in 1..=postgres::schema::MIGRATIONS.len() {
        let address = cluster.database(&format!("fleet{version}"));
        let address = postgres::Address::new(&address).unwrap();
        let old = postgres::connect_at(&address, version).unwrap();
        prepare(&old, 0).unwrap();
        fill(&old, version, |(_, postgres)| postgres);
        old.execute(STORED, params![]).unwrap();
        drop(old);
        let connection = postgres::connect(&address).unwrap();
        check(&connection, version, |(_, postgres)| postgres);
    }
}
