//! PostgreSQL: a database that several servers may share.
//!
//! Each write is a transaction of its own, on one of a few connections. What sensors send goes on beside all others; everything
//! else is written under one lock, so that it reads and writes as if it were alone, as with SQLite.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::connection::{Connection, DatabaseError};
use crate::client::{self, ClientError};

pub(super) mod events;
mod intake;
mod lease;
mod moving;
mod partitions;
pub(super) mod pool;
mod ranges;
pub(super) mod schema;
pub(super) mod session;

pub(super) use lease::Lease;
pub(super) use moving::carry;
pub(super) use partitions::{drop_before, make, make_room};

/// How long a server is waited for that does not answer.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// What was sent and is not acknowledged for so long ends a connection: the other end is gone without a word.
const DEAD: Duration = Duration::from_secs(15);

/// Why an address of a database is not taken. The address, which may have a password, is in none of these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is none.
    #[error("the database's address is not postgres://USER@HOST/NAME: {0}")]
    Form(String),
    /// `prefer` would go on without TLS where somebody in between says that there is none.
    #[error("sslmode is disable, require or verify-full")]
    Mode,
    /// There are no certificates to trust.
    #[error(transparent)]
    Trust(#[from] ClientError),
}

/// How to reach a database.
#[derive(Clone)]
pub(crate) struct Address {
    config: Arc<Config>,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shown())
    }
}

impl Address {
    /// Of `postgres://USER[:PASSWORD]@HOST[:PORT]/NAME[?sslmode=…]`. Over a network TLS is asked for, and the server's certificate has
    /// to be for its name and of an authority that the system trusts, unless `sslmode=disable` says that it need not be.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) fn new(url: &str) -> Result<Self, AddressError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(AddressError::Form("it begins otherwise".to_owned()));
        }
        let mode = match mode(url) {
            // With rustls a certificate is always verified.
            Some("require" | "verify-full") => Some(SslMode::Require),
            Some("disable") => Some(SslMode::Disable),
            None => None,
            Some(_) => return Err(AddressError::Mode),
        };
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url
            .parse()
            .map_err(|error: postgres::Error| AddressError::Form(said(&error)))?;
        let is_near = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        });
        let mode = mode.unwrap_or(if is_near {
            SslMode::Disable
        } else {
            SslMode::Require
        });
        config
            .ssl_mode(mode)
            .application_name("holdfast-server")
            .connect_timeout(CONNECT_TIME)
            .tcp_user_timeout(DEAD);
        let tls = match mode {
            SslMode::Require => {
                let trust = client::trusting(None)?;
                Some(MakeRustlsConnect::new(trust))
            }
            _ => None,
        };
        Ok(Self {
            config: Arc::new(config),
            tls,
        })
    }

    /// Where it is, without the password.
    pub(crate) fn shown(&self) -> String {
        let mut shown = String::new();
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
            let comma = if index == 0 { "" } else { "," };
            // Writing to a text does not fail.
            let _ = match host {
                Host::Tcp(name) => write!(shown, "{comma}{name}:{port}"),
                Host::Unix(path) => write!(shown, "{comma}{}", path.display()),
            };
        }
        format!(
            "{} at {shown}",
            self.config.get_dbname().unwrap_or("the user's database")
        )
    }

    /// A new connection; only for threads that may wait.
    fn open(&self, settings: &str) -> Result<session::Session, DatabaseError> {
        let client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone())?,
            None => self.config.connect(NoTls)?,
        };
        let session = session::Session::new(client);
        session.batch(settings)?;
        Ok(session)
    }
}

/// What the address says of `sslmode`.
fn mode(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("sslmode="))
}

/// What is wrong, in one line: PostgreSQL's message and code, or why there is no answer of it.
pub(super) fn said(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether `error` is about the way to the database, or it cannot be used now, and not about a statement.
pub(super) fn is_away(error: &DatabaseError) -> bool {
    let DatabaseError::Postgres(wrong) = error else {
        return false;
    };
    match error.code() {
        // Connection exceptions, too many connections, shutting down, crashed, starting up, read only after a fail-over.
        Some(code) => {
            code.starts_with("08") || ["53300", "57P01", "57P02", "57P03", "25006"].contains(&code)
        }
        None => {
            wrong.is_closed()
                || wrong
                    .source()
                    .is_some_and(|source| source.is::<std::io::Error>())
        }
    }
}

/// Settings of every connection: what is acknowledged is on the database's disk.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'; ";

/// A connection that writes, for the commands; only for threads that may wait.
///
/// # Errors
/// [`StoreError::Away`], [`StoreError::Schema`], what PostgreSQL says.
pub(super) fn connect(address: &Address) -> Result<Connection, StoreError> {
    connect_at(address, schema::MIGRATIONS.len())
}

/// The same with the tables of an earlier version, the first of which is 1.
///
/// # Errors
/// As [`connect`].
pub(super) fn connect_at(address: &Address, version: usize) -> Result<Connection, StoreError> {
    let unreachable = |error: DatabaseError| match is_away(&error) {
        true => StoreError::Away(format!("{}: {error}", address.shown())),
        false => error.into(),
    };
    let session = address.open(DURABLE).map_err(unreachable)?;
    schema::migrate_to(&session, version)?;
    Ok(Connection::Postgres(Box::new(session)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_over_a_network_in_the_clear_unasked() {
        let tls = |url: &str| Address::new(url).unwrap().tls.is_some();
        assert!(!tls("postgres://a@localhost/b") && !tls("postgres://a@127.0.0.1:5433/b"));
        assert!(!tls("postgres://a@%2Frun%2Fpostgresql/b"));
        assert!(!tls("postgres://a@db.example.org/b?sslmode=disable"));
        assert!(tls("postgres://a@db.example.org/b"));
        assert!(tls("postgres://a@localhost/b?sslmode=verify-full"));
        assert!(tls("postgres://a@localhost,db.example.org/b"));
        for mode in ["prefer", "allow", "verify-ca", "Disable"] {
            let url = format!("postgres://a@db/b?sslmode={mode}");
            assert!(matches!(Address::new(&url), Err(AddressError::Mode)));
        }
    }

    #[test]
    fn no_password_is_shown() {
        let address = Address::new("postgres://ada:s3cret@h:5/fleet?sslmode=disable").unwrap();
        assert_eq!(address.shown(), "fleet at h:5");
        assert!(!format!("{address:?}").contains("s3cret"));
        for wrong in [
            "mysql://ada:s3cret@h/x",
            "postgres://ada:s3cret@h:port/x?nonsense=1",
        ] {
            assert!(
                !Address::new(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("s3cret")
            );
        }
    }
}
