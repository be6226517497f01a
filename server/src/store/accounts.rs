//! Users, their sessions, API tokens, and what was changed by whom.

use super::connection::{Connection, Result};
use super::value::{Row, params};
use serde::Serialize;

use crate::auth::Role;
use crate::clock::rfc3339;
use crate::secret::Hash;

/// Whoever asks, once it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    /// The user's, or `token:` and the token's.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// A user, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created: String,
}

/// An API token, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Token {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) created: String,
    pub(crate) expires: Option<String>,
}

/// A line of what was changed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audited {
    pub(crate) id: i64,
    pub(crate) time: String,
    pub(crate) actor: String,
    pub(crate) address: String,
    pub(crate) action: String,
    pub(crate) detail: String,
}

/// Adds a user; false where there is one of this name.
pub(crate) fn add_user(
    connection: &Connection,
    name: &str,
    password: &str,
    role: Role,
    now: i64,
) -> Result<bool> {
    let added = connection.execute(
        "INSERT INTO \"user\" (name, password, role, created) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO NOTHING",
        params![name, password, role, now],
    )?;
    Ok(added == 1)
}

/// All users, by name.
pub(crate) fn users(connection: &Connection) -> Result<Vec<User>> {
    connection.query(
        "SELECT name, role, created FROM \"user\" ORDER BY name",
        params![],
        |row| {
            Ok(User {
                name: row.get(0)?,
                role: row.get(1)?,
                created: rfc3339(row.get(2)?),
            })
        },
    )
}

/// A user's number and the hash of the password.
pub(crate) fn user(connection: &Connection, name: &str) -> Result<Option<(i64, String, Role)>> {
    let statement = "SELECT id, password, role FROM \"user\" WHERE name = ?1";
    let user = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    connection.query_optional(statement, params![name], user)
}

/// Changes a user's password, and ends the sessions; whether there is such a user.
pub(crate) fn set_password(connection: &Connection, name: &str, password: &str) -> Result<bool> {
    let changed = connection.execute(
        "UPDATE \"user\" SET password = ?2 WHERE name = ?1",
        params![name, password],
    )?;
    connection.execute(
        "DELETE FROM session WHERE \"user\" = (SELECT id FROM \"user\" WHERE name = ?1)",
        params![name],
    )?;
    Ok(changed == 1)
}

/// What came of removing a user, or of changing what one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    Unknown,
    /// Nobody could add users any more.
    LastAdmin,
}

/// Removes a user and the sessions.
pub(crate) fn remove_user(connection: &Connection, name: &str) -> Result<Changed> {
    let Some((id, _, role)) = user(connection, name)? else {
        return Ok(Changed::Unknown);
    };
    if is_last_admin(connection, role)? {
        return Ok(Changed::LastAdmin);
    }
    connection.execute("DELETE FROM \"user\" WHERE id = ?1", params![id])?;
    Ok(Changed::Yes)
}

/// Gives a user another role, which holds for the sessions that there are.
pub(crate) fn set_role(connection: &Connection, name: &str, role: Role) -> Result<Changed> {
    let Some((id, _, before)) = user(connection, name)? else {
        return Ok(Changed::Unknown);
    };
    if role != Role::Admin && is_last_admin(connection, before)? {
        return Ok(Changed::LastAdmin);
    }
    let statement = "UPDATE \"user\" SET role = ?2 WHERE id = ?1";
    connection.execute(statement, params![id, role])?;
    Ok(Changed::Yes)
}

/// Whether without a user of this role there would be no admin.
fn is_last_admin(connection: &Connection, role: Role) -> Result<bool> {
    let admins: i64 = connection.query_one(
        "SELECT count(*) FROM \"user\" WHERE role = ?1",
        params![Role::Admin],
        |row| row.get(0),
    )?;
    Ok(role == Role::Admin && admins == 1)
}

/// Begins a session, and takes away those that have ended.
pub(crate) fn begin_session(
    connection: &Connection,
    hash: &Hash,
    user: i64,
    expires: i64,
    now: i64,
) -> Result<()> {
    connection.execute("DELETE FROM session WHERE expires <= ?1", params![now])?;
    connection.execute(
        "INSERT INTO session VALUES (?1, ?2, ?3)",
        params![hash, user, expires],
    )?;
    Ok(())
}

/// Ends a session.
pub(crate) fn end_session(connection: &Connection, hash: &Hash) -> Result<()> {
    connection.execute("DELETE FROM session WHERE hash = ?1", params![hash])?;
    Ok(())
}

/// Of a name and a role.
fn identity(row: &Row<'_>) -> Result<Identity> {
    Ok(Identity {
        name: row.get(0)?,
        role: row.get(1)?,
    })
}

/// Whose session this is.
pub(crate) fn by_session(
    connection: &Connection,
    hash: &Hash,
    now: i64,
) -> Result<Option<Identity>> {
    connection.query_optional(
        "SELECT name, role FROM session JOIN \"user\" ON \"user\".id = session.\"user\"
         WHERE hash = ?1 AND expires > ?2",
        params![hash, now],
        identity,
    )
}

/// Stores an API token by its hash; its number.
pub(crate) fn add_token(
    connection: &Connection,
    name: &str,
    hash: &Hash,
    role: Role,
    expires: Option<i64>,
    now: i64,
) -> Result<i64> {
    connection.query_one(
        "INSERT INTO token (name, hash, role, created, expires) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id",
        params![name, hash, role, now, expires],
        |row| row.get(0),
    )
}

/// All API tokens, the newest first.
pub(crate) fn tokens(connection: &Connection) -> Result<Vec<Token>> {
    connection.query(
        "SELECT id, name, role, created, expires FROM token ORDER BY id DESC",
        params![],
        |row| {
            Ok(Token {
                id: row.get(0)?,
                name: row.get(1)?,
                role: row.get(2)?,
                created: rfc3339(row.get(3)?),
                expires: row.get::<Option<i64>>(4)?.map(rfc3339),
            })
        },
    )
}

/// Takes an API token away; whether there was one.
pub(crate) fn revoke_token(connection: &Connection, id: i64) -> Result<bool> {
    Ok(connection.execute("DELETE FROM token WHERE id = ?1", params![id])? == 1)
}

/// Whose API token this is.
pub(crate) fn by_token(connection: &Connection, hash: &Hash, now: i64) -> Result<Option<Identity>> {
    connection.query_optional("SELECT 'token:' || name, role FROM token WHERE hash = ?1 AND coalesce(expires, ?2 + 1) > ?2", params![hash, now], identity)
}

/// Notes what was changed, within the transaction that changes it. No secret may be in `detail`.
pub(crate) fn audit(
    connection: &Connection,
    actor: &str,
    address: &str,
    action: &str,
    detail: &str,
    now: i64,
) -> Result<()> {
    connection.execute(
        "INSERT INTO audit (time, actor, address, action, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![now, actor, address, action, detail],
    )?;
    Ok(())
}

/// At most `limit` lines before the one of this number, the latest first.
pub(crate) fn audited(connection: &Connection, before: i64, limit: usize) -> Result<Vec<Audited>> {
    connection.query(
        "SELECT id, time, actor, address, action, detail FROM audit
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        params![before, limit as i64],
        |row| {
            Ok(Audited {
                id: row.get(0)?,
                time: rfc3339(row.get(1)?),
                actor: row.get(2)?,
                address: row.get(3)?,
                action: row.get(4)?,
                detail: row.get(5)?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::test::{both, empty};
    use super::*;

    #[test]
    fn the_last_admin_stays() {
        both(|| {
            let connection = empty();
            add_user(&connection, "a", "", Role::Admin, 0).unwrap();
            assert!(!add_user(&connection, "a", "", Role::Admin, 0).unwrap());
            assert_eq!(remove_user(&connection, "a").unwrap(), Changed::LastAdmin);
            add_user(&connection, "b", "", Role::Admin, 0).unwrap();
            assert_eq!(remove_user(&connection, "a").unwrap(), Changed::Yes);
            assert_eq!(remove_user(&connection, "a").unwrap(), Changed::Unknown);
        });
    }

    #[test]
    fn a_role_holds_from_the_next_request_on_and_one_admin_stays() {
        both(|| {
            let connection = empty();
            add_user(&connection, "a", "", Role::Admin, 0).unwrap();
            add_user(&connection, "b", "", Role::ReadOnly, 0).unwrap();
            begin_session(&connection, &[1; 32], 2, 10, 0).unwrap();
            let set = |name, role| set_role(&connection, name, role).unwrap();
            assert_eq!(set("b", Role::Analyst), Changed::Yes);
            let session = by_session(&connection, &[1; 32], 5).unwrap().unwrap();
            assert_eq!(session.role, Role::Analyst);
            assert_eq!(set("nobody", Role::Analyst), Changed::Unknown);
            assert_eq!(set("a", Role::Analyst), Changed::LastAdmin);
            assert_eq!(set("a", Role::Admin), Changed::Yes);
            assert_eq!(set("b", Role::Admin), Changed::Yes);
            assert_eq!(set("a", Role::ReadOnly), Changed::Yes);
        });
    }

    #[test]
    fn sessions_end_by_time_and_with_the_password() {
        both(|| {
            let connection = empty();
            add_user(&connection, "a", "", Role::Analyst, 0).unwrap();
            begin_session(&connection, &[1; 32], 1, 10, 0).unwrap();
            let whose = |now| by_session(&connection, &[1; 32], now).unwrap();
            assert_eq!(whose(9).unwrap().role, Role::Analyst);
            assert_eq!(whose(10), None);
            set_password(&connection, "a", "new").unwrap();
            assert_eq!(whose(9), None);
        });
    }
}
