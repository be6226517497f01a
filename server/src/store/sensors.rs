//! Sensors: who they are, by which tokens they are known, and what they last said of themselves.

use super::connection::{Connection, Result};
use super::value::{Row, params};
use holdfast_wire::uplink::Enrol;

use super::keys;
use crate::secret::Hash;

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

/// Enrols a host, and counts the use of its key: the sensor's id, the same as before where the host is
/// known, and else `new_id`. `None`: the key permits nothing.
pub(crate) fn enrol(
    connection: &Connection,
    message: &Enrol,
    key: &Hash,
    token: &Hash,
    new_id: &str,
    now: i64,
) -> Result<Option<String>> {
    let Some((key, tags)) = keys::usable(connection, key, now)? else {
        return Ok(None);
    };
    keys::used(connection, key)?;
    // What it had before is void: a token that was promised as well.
    let (row, sensor_id): (i64, String) = connection.query_one(
        "INSERT INTO sensor (sensor_id, host_id, host_name, version, architecture, kernel,
                             token, token_since, enrolled, seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8)
         ON CONFLICT (host_id) DO UPDATE SET
             host_name = ?3, version = ?4, architecture = ?5, kernel = ?6,
             token = ?7, token_since = ?8, next_token = NULL, seen = ?8, removed = NULL
         RETURNING id, sensor_id",
        params![
            new_id,
            message.host_id,
            message.host_name,
            message.version,
            message.architecture,
            message.kernel,
            token,
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
    Ok(Some(sensor_id))
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

/// The token that a sensor was given is its only one from now on: it showed it.
pub(crate) fn promote(connection: &Connection, token: &Hash, now: i64) -> Result<()> {
    connection.execute(
        "UPDATE sensor SET token = next_token, next_token = NULL, token_since = ?2
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

/// Stores what a sensor says of itself: `text` is the JSON of the heartbeat but for `ledger`.
pub(crate) fn heard(
    connection: &Connection,
    row: i64,
    version: &str,
    text: &str,
    ledger: &str,
    now: i64,
) -> Result<()> {
    connection.execute(
        "UPDATE sensor SET version = ?2, heartbeat = ?3, ledger = ?4, seen = ?5 WHERE id = ?1",
        params![row, version, text, ledger, now],
    )?;
    Ok(())
}

const COLUMNS: &str = "id, sensor_id, host_id, host_name, version, architecture, kernel, enrolled,
    seen, heartbeat,
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
        tags: tags_of_text(&row.get::<String>(10)?),
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

/// The JSON of the ledger that a sensor last sent.
pub(crate) fn ledger(connection: &Connection, row: i64) -> Result<Option<String>> {
    connection.query_one(
        "SELECT ledger FROM sensor WHERE id = ?1",
        params![row],
        |row| row.get(0),
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
        "UPDATE sensor SET removed = ?2, token = ?3, next_token = NULL
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
        }
    }

    fn with_key(key: NewKey) -> Connection {
        let connection = empty();
        keys::create(&connection, &[1; 32], &key, 0).unwrap();
        connection
    }

    #[test]
    fn a_host_stays_the_same_sensor_with_a_new_token() {
        both(|| {
            let key = NewKey {
                tags: vec!["web".into()],
                ..NewKey::default()
            };
            let connection = with_key(key);
            let enrol = |host, token, id| {
                enrol(&connection, &message(host), &[1; 32], &[token; 32], id, 5).unwrap()
            };
            assert_eq!(enrol("h", 2, "a").as_deref(), Some("a"));
            assert_eq!(enrol("h", 3, "b").as_deref(), Some("a"));
            assert_eq!(enrol("other", 4, "c").as_deref(), Some("c"));
            assert_eq!(by_token(&connection, &[2; 32]).unwrap(), None);
            assert_eq!(
                by_token(&connection, &[3; 32]).unwrap().unwrap().sensor_id,
                "a"
            );
            assert_eq!(one(&connection, "a").unwrap().unwrap().tags, ["web"]);
        });
    }

    #[test]
    fn a_key_permits_as_many_as_it_says_and_as_long() {
        both(|| {
            let key = NewKey {
                uses: Some(1),
                expires: Some(10),
                ..NewKey::default()
            };
            let connection = with_key(key.clone());
            let enrol = |connection: &Connection, host, now| {
                enrol(
                    connection,
                    &message(host),
                    &[1; 32],
                    &[now as u8; 32],
                    host,
                    now,
                )
                .unwrap()
            };
            assert!(enrol(&connection, "a", 5).is_some());
            assert!(enrol(&connection, "b", 6).is_none());
            assert!(enrol(&with_key(key), "a", 10).is_none());
            assert!(enrol(&empty(), "a", 5).is_none());
        });
    }

    #[test]
    fn a_promised_token_replaces_the_other_once_it_is_shown() {
        both(|| {
            let connection = with_key(NewKey::default());
            enrol(&connection, &message("h"), &[1; 32], &[2; 32], "a", 5).unwrap();
            let known = |token| by_token(&connection, &[token; 32]).unwrap();
            promise(&connection, known(2).unwrap().row, &[3; 32]).unwrap();
            assert!(!known(2).unwrap().is_next && known(3).unwrap().is_next);
            promote(&connection, &[3; 32], 9).unwrap();
            assert_eq!(known(2), None);
            let now = known(3).unwrap();
            assert_eq!((now.is_next, now.token_since), (false, 9));
        });
    }
}
