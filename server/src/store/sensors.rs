//! Sensors: who they are, by which tokens they are known, and what they last said of themselves.

use super::connection::{Connection, Result};
use super::value::{Row, params};
use holdfast_wire::uplink::Enrol;

use super::keys;
use crate::secret::{self, Hash};

/// A sensor that showed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its row.
    pub(crate) row: i64,
    /// Its identity.
    pub(crate) sensor_id: String,
    /// Milliseconds since 1970 at which its token was made.
    pub(crate) token_since: i64,
    /// Whether the token is the one that it was given with the last heartbeat.
    pub(crate) is_next: bool,
}

/// A sensor, as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    pub(crate) row: i64,
    pub(crate) sensor_id: String,
    pub(crate) host_id: String,
    pub(crate) host_name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) kernel: String,
    pub(crate) enrolled: i64,
    pub(crate) seen: i64,
    /// The JSON of its last, without the ledger.
    pub(crate) heartbeat: Option<String>,
    /// Whether its host may enrol again without its token.
    pub(crate) may_enrol: bool,
    pub(crate) tags: Vec<String>,
}

/// What stands in the database between tags.
const SEPARATOR: char = ',';

/// The tags of a text that has them separated by commas.
pub(crate) fn tags_of_text(text: &str) -> Vec<String> {
    let tags = text
        .split(SEPARATOR)
        .map(str::trim)
        .filter(|tag| !tag.is_empty());
    tags.map(str::to_owned).collect()
}

/// What a host gets that enrols.
pub(crate) struct Offer {
    /// Hash of the key that permits it.
    pub(crate) key: Hash,
    /// Hash of the token that it shows from then on.
    pub(crate) token: Hash,
    /// A hash that nobody knows the secret of: where there is no token before.
    pub(crate) void: Hash,
    /// Its identity where it is not known.
    pub(crate) new_id: String,
}

/// What came of enrolling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enrolment {
    /// It is a sensor now.
    Done {
        sensor_id: String,
        /// Number of the key that permitted it.
        key: i64,
        /// Whether the host was one before.
        again: bool,
    },
    /// The key permits nothing.
    NoKey,
    /// The host is this sensor, and did not prove that it is the same.
    Taken(String),
}

/// Enrols a host, and counts the use of its key. A host that is known stays the same sensor if it shows its token, or may
/// enrol without: until it first shows the token that it got, so that an answer that was lost does no harm, and when an
/// administrator removed it or allowed it. What it had before is good until then, too.
pub(crate) fn enrol(
    connection: &Connection,
    message: &Enrol,
    offer: &Offer,
    now: i64,
) -> Result<Enrolment> {
    let Some((key, tags)) = keys::usable(connection, &offer.key, now)? else {
        return Ok(Enrolment::NoKey);
    };
    let shown = message.previous_token.as_ref();
    let shown = shown.map(|token| secret::hash(token.expose()));
    let known = connection.query_optional(
        "SELECT sensor_id, may_enrol, coalesce(token = ?2 OR next_token = ?2, FALSE) FROM sensor
         WHERE host_id = ?1",
        params![message.host_id, shown.unwrap_or(offer.void)],
        |row| {
            let (allowed, proved): (bool, bool) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<String>(0)?, allowed || proved))
        },
    )?;
    let again = known.is_some();
    if let Some((sensor_id, false)) = known {
        return Ok(Enrolment::Taken(sensor_id));
    }
    keys::used(connection, key)?;
    let (row, sensor_id): (i64, String) = connection.query_one(
        "INSERT INTO sensor (sensor_id, host_id, host_name, version, architecture, kernel,
                             token, token_since, next_token, enrolled, seen, may_enrol)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9, ?8, ?9, ?9, 1)
         ON CONFLICT (host_id) DO UPDATE SET
             host_name = ?3, version = ?4, architecture = ?5, kernel = ?6,
             next_token = ?8, seen = ?9, removed = NULL
         RETURNING id, sensor_id",
        params![
            offer.new_id,
            message.host_id,
            message.host_name,
            message.version,
            message.architecture,
            message.kernel,
            offer.void,
            offer.token,
            now
        ],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for tag in tags {
        connection.execute(
            "INSERT INTO sensor_tag VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![row, tag],
        )?;
    }
    Ok(Enrolment::Done {
        sensor_id,
        key,
        again,
    })
}

/// How many there are that were not removed.
pub(crate) fn count(connection: &Connection) -> Result<i64> {
    let count = "SELECT count(*) FROM sensor WHERE removed IS NULL";
    connection.query_one(count, params![], |row| row.get(0))
}

/// Lets the host of this sensor enrol without its token, until it shows one that it got so; whether there is such a sensor.
pub(crate) fn allow_enrolment(connection: &Connection, sensor_id: &str) -> Result<bool> {
    let allowed = connection.execute(
        "UPDATE sensor SET may_enrol = 1 WHERE sensor_id = ?1 AND removed IS NULL",
        params![sensor_id],
    )?;
    Ok(allowed == 1)
}

/// The same for all sensors; how many there are.
pub(crate) fn allow_all_enrolments(connection: &Connection) -> Result<usize> {
    let statement = "UPDATE sensor SET may_enrol = 1 WHERE removed IS NULL";
    connection.execute(statement, params![])
}

/// The row of the sensor on this host.
pub(crate) fn by_host(connection: &Connection, host_id: &str) -> Result<Option<i64>> {
    let statement = "SELECT id FROM sensor WHERE host_id = ?1";
    connection.query_optional(statement, params![host_id], |row| row.get(0))
}

/// Whose token this is.
pub(crate) fn by_token(connection: &Connection, token: &Hash) -> Result<Option<Known>> {
    let known = |row: &Row<'_>| {
        Ok(Known {
            row: row.get(0)?,
            sensor_id: row.get(1)?,
            token_since: row.get(2)?,
            is_next: row.get(3)?,
        })
    };
    connection.query_optional(
        "SELECT id, sensor_id, token_since, coalesce(next_token = ?1, FALSE) FROM sensor
         WHERE token = ?1 OR next_token = ?1",
        params![token],
        known,
    )
}

/// The token that a sensor was given is its only one from now on: it showed it, and proves by it who it is.
pub(crate) fn promote(connection: &Connection, token: &Hash, now: i64) -> Result<()> {
    connection.execute(
        "UPDATE sensor SET token = next_token, next_token = NULL, token_since = ?2, may_enrol = 0
         WHERE next_token = ?1",
        params![token, now],
    )?;
    Ok(())
}

/// Gives a sensor a token beside the one that it has, until it shows it.
pub(crate) fn promise(connection: &Connection, row: i64, token: &Hash) -> Result<()> {
    let statement = "UPDATE sensor SET next_token = ?2 WHERE id = ?1";
    connection.execute(statement, params![row, token])?;
    Ok(())
}

/// What a sensor says of itself, in JSON.
pub(crate) struct Said {
    /// Its version.
    pub(crate) version: String,
    /// The heartbeat, but for what follows: lists of sensors have it.
    pub(crate) heartbeat: String,
    /// What its hooks counted.
    pub(crate) ledger: String,
    /// What runs on its host.
    pub(crate) containers: Option<String>,
}

/// Stores what a sensor says of itself.
pub(crate) fn heard(connection: &Connection, row: i64, said: &Said, now: i64) -> Result<()> {
    connection.execute(
        "UPDATE sensor SET version = ?2, heartbeat = ?3, ledger = ?4, containers = ?5, seen = ?6 WHERE id = ?1",
        params![row, said.version, said.heartbeat, said.ledger, said.containers, now],
    )?;
    Ok(())
}

const COLUMNS: &str = "id, sensor_id, host_id, host_name, version, architecture, kernel, enrolled,
    seen, heartbeat, may_enrol,
    coalesce((SELECT string_agg(tag, ',' ORDER BY tag) FROM sensor_tag WHERE sensor = sensor.id), '')";

fn sensor(row: &Row<'_>) -> Result<Sensor> {
    Ok(Sensor {
        row: row.get(0)?,
        sensor_id: row.get(1)?,
        host_id: row.get(2)?,
        host_name: row.get(3)?,
        version: row.get(4)?,
        architecture: row.get(5)?,
        kernel: row.get(6)?,
        enrolled: row.get(7)?,
        seen: row.get(8)?,
        heartbeat: row.get(9)?,
        may_enrol: row.get(10)?,
        tags: tags_of_text(&row.get::<String>(11)?),
    })
}

/// At most `limit` sensors by their rows, behind the one of row `after`.
pub(crate) fn list(connection: &Connection, after: i64, limit: usize) -> Result<Vec<Sensor>> {
    connection.query(
        &format!(
            "SELECT {COLUMNS} FROM sensor WHERE id > ?1 AND removed IS NULL ORDER BY id LIMIT ?2"
        ),
        params![after, limit as i64],
        sensor,
    )
}

/// Shows each sensor to `look`, some at a time.
pub(crate) fn each(connection: &Connection, mut look: impl FnMut(&Sensor)) -> Result<()> {
    const PAGE: usize = 200;
    let mut after = 0;
    loop {
        let page = list(connection, after, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.row;
        page.iter().for_each(&mut look);
    }
}

/// The sensor of this id.
pub(crate) fn one(connection: &Connection, sensor_id: &str) -> Result<Option<Sensor>> {
    let statement = format!("SELECT {COLUMNS} FROM sensor WHERE sensor_id = ?1");
    connection.query_optional(&statement, params![sensor_id], sensor)
}

/// What a sensor last said of its ledger and its containers, in JSON.
pub(crate) fn ledger_and_containers(
    connection: &Connection,
    row: i64,
) -> Result<(Option<String>, Option<String>)> {
    connection.query_one(
        "SELECT ledger, containers FROM sensor WHERE id = ?1",
        params![row],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Removes a sensor from the fleet; whether it was there. Its tokens are void, its events stay, and it is there again when it
/// enrols again.
/// Nobody knows what has the hash `void`.
pub(crate) fn remove(
    connection: &Connection,
    sensor_id: &str,
    void: &Hash,
    now: i64,
) -> Result<bool> {
    let removed = connection.execute(
        "UPDATE sensor SET removed = ?2, token = ?3, next_token = NULL, may_enrol = 1
         WHERE sensor_id = ?1 AND removed IS NULL",
        params![sensor_id, now, void],
    )?;
    Ok(removed == 1)
}

/// Replaces a sensor's tags; whether there is such a sensor.
pub(crate) fn tag(connection: &Connection, sensor_id: &str, tags: &[String]) -> Result<bool> {
    let Some(sensor) = one(connection, sensor_id)? else {
        return Ok(false);
    };
    connection.execute(
        "DELETE FROM sensor_tag WHERE sensor = ?1",
        params![sensor.row],
    )?;
    for tag in tags {
        connection.execute(
            "INSERT INTO sensor_tag VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![sensor.row, tag],
        )?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use holdfast_wire::uplink::Secret;

    use super::super::keys::NewKey;
    use super::super::test::{both, empty};
    use super::*;

    fn message(host: &str) -> Enrol {
        Enrol {
            installation_key: Secret::new("k".into()),
            host_id: host.into(),
            host_name: "web-1".into(),
            version: "0.1.0".into(),
            architecture: "x86_64".into(),
            kernel: "6.1.0".into(),
            previous_token: None,
        }
    }

    fn with_key(key: NewKey) -> Connection {
        let connection = empty();
        keys::create(&connection, &[1; 32], &key, 0).unwrap();
        connection
    }

    /// A host that shows `previous` and gets `token`; the identity of a new one is the host's name.
    fn enrolled(
        connection: &Connection,
        host: &str,
        previous: Option<&str>,
        token: &str,
    ) -> Enrolment {
        let message = Enrol {
            previous_token: previous.map(|token| Secret::new(token.into())),
            ..message(host)
        };
        let offer = Offer {
            key: [1; 32],
            token: secret::hash(token),
            void: secret::random().unwrap(),
            new_id: host.into(),
        };
        enrol(connection, &message, &offer, 5).unwrap()
    }

    fn done(sensor_id: &str, again: bool) -> Enrolment {
        Enrolment::Done {
            sensor_id: sensor_id.into(),
            key: 1,
            again,
        }
    }

    /// Who it is that shows this token, and from then on has no other.
    fn shown(connection: &Connection, token: &str) -> Option<String> {
        let hash = secret::hash(token);
        let known = by_token(connection, &hash).unwrap()?;
        promote(connection, &hash, 9).unwrap();
        Some(known.sensor_id)
    }

    #[test]
    fn a_host_stays_the_same_sensor_when_it_shows_its_token() {
        both(|| {
            let key = NewKey {
                tags: vec!["web".into()],
                ..NewKey::default()
            };
            let connection = with_key(key);
            assert_eq!(enrolled(&connection, "h", None, "a"), done("h", false));
            // The answer was lost.
            assert_eq!(enrolled(&connection, "h", None, "b"), done("h", true));
            assert_eq!(shown(&connection, "a"), None);
            assert_eq!(shown(&connection, "b").as_deref(), Some("h"));
            assert_eq!(
                enrolled(&connection, "other", None, "o"),
                done("other", false)
            );

            let taken = Enrolment::Taken("h".into());
            for no_proof in [None, Some("a"), Some("o")] {
                assert_eq!(enrolled(&connection, "h", no_proof, "x"), taken);
            }
            assert_eq!(shown(&connection, "x"), None);
            let used = keys::list(&connection, 5).unwrap()[0].used;
            assert_eq!(used, 3, "who is refused uses no key up");

            assert_eq!(enrolled(&connection, "h", Some("b"), "c"), done("h", true));
            assert_eq!(shown(&connection, "b").as_deref(), Some("h"));
            assert_eq!(shown(&connection, "c").as_deref(), Some("h"));
            assert_eq!(shown(&connection, "b"), None);
            assert_eq!(one(&connection, "h").unwrap().unwrap().tags, ["web"]);
        });
    }

    #[test]
    fn who_was_removed_or_is_allowed_to_enrols_once_without_a_token() {
        both(|| {
            let connection = with_key(NewKey::default());
            enrolled(&connection, "h", None, "a");
            shown(&connection, "a");
            let taken = Enrolment::Taken("h".into());
            assert!(allow_enrolment(&connection, "h").unwrap());
            assert!(!allow_enrolment(&connection, "nobody").unwrap());
            assert_eq!(enrolled(&connection, "h", None, "b"), done("h", true));
            assert_eq!(shown(&connection, "b").as_deref(), Some("h"));
            assert_eq!(enrolled(&connection, "h", None, "c"), taken);

            assert!(remove(&connection, "h", &secret::random().unwrap(), 6).unwrap());
            assert_eq!(shown(&connection, "b"), None);
            assert_eq!(enrolled(&connection, "h", None, "c"), done("h", true));
            assert_eq!(shown(&connection, "c").as_deref(), Some("h"));
            assert_eq!(enrolled(&connection, "h", None, "d"), taken);
            assert_eq!(allow_all_enrolments(&connection).unwrap(), 1);
            assert_eq!(enrolled(&connection, "h", None, "d"), done("h", true));
        });
    }

    #[test]
    fn a_key_permits_as_many_as_it_says_and_as_long() {
        both(|| {
            let key = NewKey {
                uses: Some(1),
                expires: Some(6),
                ..NewKey::default()
            };
            let connection = with_key(key);
            assert_eq!(enrolled(&connection, "a", None, "a"), done("a", false));
            assert_eq!(enrolled(&connection, "b", None, "b"), Enrolment::NoKey);
            let ended = NewKey {
                expires: Some(5),
                ..NewKey::default()
            };
            assert_eq!(enrolled(&with_key(ended), "a", None, "a"), Enrolment::NoKey);
            assert_eq!(enrolled(&empty(), "a", None, "a"), Enrolment::NoKey);
        });
    }

    #[test]
    fn a_promised_token_replaces_the_other_once_it_is_shown() {
        both(|| {
            let connection = with_key(NewKey::default());
            enrolled(&connection, "h", None, "a");
            promote(&connection, &secret::hash("a"), 5).unwrap();
            let row = one(&connection, "h").unwrap().unwrap().row;
            let known = |token| by_token(&connection, &[token; 32]).unwrap();
            promise(&connection, row, &[2; 32]).unwrap();
            promote(&connection, &[2; 32], 5).unwrap();
            promise(&connection, known(2).unwrap().row, &[3; 32]).unwrap();
            assert!(!known(2).unwrap().is_next && known(3).unwrap().is_next);
            promote(&connection, &[3; 32], 9).unwrap();
            assert_eq!(known(2), None);
            let now = known(3).unwrap();
            assert_eq!((now.is_next, now.token_since), (false, 9));
        });
    }
}
