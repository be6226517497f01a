//! The command line.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use holdfast_wire::uplink::Secret;

use crate::api::MAX_DAYS;
use crate::auth::Role;
use crate::store::{Address, AddressError, Place};

mod forward;
mod simulate;
mod size;

pub(crate) use forward::{Forward, Forwarded};
pub(crate) use simulate::Simulate;
use size::size;

/// The least that a store may have: a few of the largest frames.
const MIN_SIZE: i64 = 64 << 20;
/// The least that a sensor may send a second: a largest frame in a quarter of a minute.
const MIN_RATE: i64 = 1 << 20;

/// Team Server of Holdfast: one place for a fleet of sensors.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast-server",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 fine, 1 it failed or the answer is no, 2 wrong use."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of this version.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve sensors and browsers in the foreground
    #[command(after_help = "\
Examples:
  holdfast-server run
  holdfast-server run --data ./data --listen 0.0.0.0:5150 --tls-certificate chain.pem --tls-key key.pem
  holdfast-server run --admin-password-file password.txt --retain-days 90
  HOLDFAST_SERVER_DATABASE=postgres://holdfast:PASSWORD@db.example.org/holdfast holdfast-server run
  holdfast-server run --forward-webhook https://hooks.example.org/holdfast --forward-webhook-secret-file secret.txt
  holdfast-server run --forward-syslog tls://siem.example.org --forward-ca ca.pem --forward-events all
The first start makes the user `admin` and prints its password once.")]
    Run(Box<Run>),
    /// Installation keys, by which sensors enrol
    #[command(subcommand)]
    Key(Key),
    /// Sensors that enrolled
    #[command(subcommand)]
    Sensor(Sensor),
    /// Who may log in
    #[command(subcommand)]
    User(User),
    /// Tokens for programs that use the API
    #[command(subcommand)]
    Token(Token),
    /// Copy the whole store to a file, also while the server runs
    #[command(after_help = "\
Examples:
  holdfast-server backup holdfast-2026-11-22.db
It has the key that signs bundles: keep it as you keep that. `holdfast-server restore` brings it back.")]
    Backup {
        /// The file, which must not be there
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Put a backup into the data directory, with the server stopped; or go on with what pg_restore brought back
    #[command(after_help = "\
Examples:
  systemctl stop holdfast-server
  holdfast-server restore holdfast-2026-11-22.db
  holdfast-server restore holdfast-2026-11-22.db --replace      (what is there is lost)
  holdfast-server restore --database postgres://db.example.org/holdfast      (after pg_restore)
The backup may be of an earlier version. It is checked first, and nothing changes where it cannot be used. Policies that are
assigned get new versions, above those that sensors were given since.")]
    Restore {
        /// What `backup` wrote; none with PostgreSQL
        file: Option<PathBuf>,
        /// Replace the store that is there
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Bring all of a store in SQLite into a database of PostgreSQL that has nothing yet
    #[command(after_help = "\
Examples:
  systemctl stop holdfast-server
  HOLDFAST_SERVER_DATABASE=postgres://holdfast:PASSWORD@db.example.org/holdfast holdfast-server move --from /var/lib/holdfast-server
The server is stopped meanwhile: what sensors send afterwards belongs into the new store. All is brought or nothing, and
the old store stays as it is. Sensors, tokens, sessions and keys go on as they are.")]
    Move {
        /// Directory of the store in SQLite
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Database that it is brought into; one with a password belongs into the environment
        #[arg(
            long,
            value_name = "URL",
            env = "HOLDFAST_SERVER_DATABASE",
            hide_env_values = true,
            value_parser = secret
        )]
        database: Secret,
    },
    /// Be a fleet of sensors that send to a server, and measure how it answers
    #[command(after_help = "\
Examples:
  holdfast-server key create --tag simulated --days 1
  holdfast-server simulate --key KEY --sensors 2000 --events-per-second 50 --for 1m
  holdfast-server simulate --key KEY --sensors 200 --for 20s          (looks for the highest rate that holds)
  holdfast-server simulate --key KEY --url https://team.example.org:5150 --ca ca.pem --sensors 50 --json
Give it a server of its own: its sensors and events stay there. A rate holds when at the end of the time no more events
wait than come in a few seconds, and none was refused. Exit code 1: the rate did not hold.")]
    Simulate(Simulate),
    /// Show the version
    #[command(
        after_help = "Examples:\n  holdfast-server version\n  holdfast-server version --json"
    )]
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where the store is.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Directory of the store, where it is not in a database
    #[arg(
        long = "data",
        value_name = "DIR",
        env = "HOLDFAST_SERVER_DATA",
        default_value = "/var/lib/holdfast-server"
    )]
    directory: PathBuf,
    /// Database of PostgreSQL that has the store: postgres://USER@HOST/NAME; one with a password belongs into the environment
    #[arg(
        long,
        value_name = "URL",
        env = "HOLDFAST_SERVER_DATABASE",
        hide_env_values = true,
        value_parser = secret
    )]
    database: Option<Secret>,
}

/// Taken as it is: what the command line finds wrong with a value it shows, with the password.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

impl Data {
    /// Where the store is.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) fn place(&self) -> Result<Place, AddressError> {
        match &self.database {
            Some(url) => Address::new(url.expose()).map(Place::Database),
            None => Ok(Place::Directory(self.directory.clone())),
        }
    }
}

/// `holdfast-server run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Address and port; 0 for a port that is free
    #[arg(
        long,
        value_name = "ADDR",
        env = "HOLDFAST_SERVER_LISTEN",
        default_value = "127.0.0.1:5150"
    )]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) data: Data,
    /// Certificate chain (PEM): serve by TLS
    #[arg(
        long,
        value_name = "FILE",
        env = "HOLDFAST_SERVER_TLS_CERTIFICATE",
        requires = "tls_key"
    )]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "HOLDFAST_SERVER_TLS_KEY",
        requires = "tls_certificate"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// Certificates (PEM) of the authorities by one of which sensors have to be certified; browsers need not be
    #[arg(
        long,
        value_name = "FILE",
        env = "HOLDFAST_SERVER_TLS_CLIENT_CA",
        requires = "tls_certificate"
    )]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Browsers and sensors come by a proxy that does TLS, and by nothing else: cookies are for TLS alone, and a client's address is the last of X-Forwarded-For
    #[arg(
        long,
        env = "HOLDFAST_SERVER_BEHIND_TLS_PROXY",
        conflicts_with = "tls_certificate"
    )]
    pub(crate) behind_tls_proxy: bool,
    /// Connections that an address may have at a time: those of a site behind one address that has a sensor on each host; 4,096 are there for all. Behind a proxy it does not apply
    #[arg(
        long,
        value_name = "N",
        env = "HOLDFAST_SERVER_CONNECTIONS_PER_ADDRESS",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) connections_per_address: u16,
    /// Days after which events are deleted
    #[arg(long, value_name = "N", env = "HOLDFAST_SERVER_RETAIN_DAYS", default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
    pub(crate) retain_days: i64,
    /// Bytes of the store, as 20GiB: where it has more the oldest events are removed, and alerts once there are no other events; with PostgreSQL those of whole days before today
    #[arg(
        long,
        value_name = "SIZE",
        env = "HOLDFAST_SERVER_MAX_SIZE",
        value_parser = |text: &str| size(text, MIN_SIZE)
    )]
    pub(crate) max_size: Option<i64>,
    /// Bytes a second of each sensor's events, as 4MiB; those of a quarter of a minute may come at once. Who sends more is told to wait
    #[arg(
        long,
        value_name = "SIZE",
        env = "HOLDFAST_SERVER_SENSOR_RATE",
        default_value = "4MiB",
        value_parser = |text: &str| size(text, MIN_RATE)
    )]
    pub(crate) sensor_rate: i64,
    /// Days after which a sensor gets a new token
    #[arg(long, value_name = "N", env = "HOLDFAST_SERVER_TOKEN_DAYS", default_value_t = 30, value_parser = clap::value_parser!(i64).range(0..=MAX_DAYS))]
    pub(crate) token_days: i64,
    /// File with the password that the first start gives the user `admin`
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// Make no user, whose password would be in the journal: `holdfast-server user add` does
    #[arg(long, conflicts_with = "admin_password_file")]
    pub(crate) no_first_user: bool,
    #[command(flatten)]
    pub(crate) forward: Forward,
    /// What is logged to stderr: error, warn, info, debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    pub(crate) log: String,
}

/// `holdfast-server key`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key, and print it: it is not shown again
    #[command(after_help = "\
Examples:
  holdfast-server key create
  holdfast-server key create --uses 1 --days 1 --tag web --tag production --note 'web-7, reinstalled'")]
    Create {
        /// For people
        #[arg(long, default_value = "")]
        note: String,
        /// What sensors that enrol with it are tagged with
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// How many sensors may enrol with it; any number if not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
        uses: Option<i64>,
        /// For how many days it is valid
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
        days: i64,
        #[command(flatten)]
        show: Show,
    },
    /// List the keys
    #[command(
        after_help = "Examples:\n  holdfast-server key list\n  holdfast-server key list --json"
    )]
    List(Show),
    /// Take a key away; sensors that enrolled with it stay
    #[command(after_help = "Examples:\n  holdfast-server key revoke 3")]
    Revoke {
        /// Its number, as `key list` shows it
        id: i64,
        #[command(flatten)]
        data: Data,
    },
}

/// `holdfast-server sensor`
#[derive(Debug, Subcommand)]
pub(crate) enum Sensor {
    /// Let a host that enrolled before enrol once more without the token that it has lost
    #[command(after_help = "\
Examples:
  holdfast-server sensor allow-enrol 1f0c0a9be5d94a6e8b8c4c2f6f0e1d2a      (after a new installation of the host)
  holdfast-server sensor allow-enrol --all                                  (after a backup was restored)
Whoever has an installation key may be that host until it has enrolled.")]
    AllowEnrol {
        /// Its id, as its page and the audit log show it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All sensors
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        data: Data,
    },
}

/// `holdfast-server user`
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user
    #[command(after_help = "\
Examples:
  holdfast-server user add ada --role analyst                 (prints a random password)
  holdfast-server user add ada --role admin --password-file password.txt")]
    Add {
        /// Letters, digits and . _ @ -
        name: String,
        /// What the user may do
        #[arg(long, value_enum, default_value_t = Role::ReadOnly)]
        role: Role,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        data: Data,
    },
    /// List the users
    #[command(
        after_help = "Examples:\n  holdfast-server user list\n  holdfast-server user list --json"
    )]
    List(Show),
    /// Change a user's password, and end the sessions
    #[command(
        after_help = "Examples:\n  holdfast-server user password admin      (prints a random password)"
    )]
    Password {
        /// Whose
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        data: Data,
    },
    /// Give a user another role, also in the sessions that there are
    #[command(after_help = "Examples:\n  holdfast-server user role ada admin")]
    Role {
        /// Whom
        name: String,
        /// What the user may do from now on
        #[arg(value_enum)]
        role: Role,
        #[command(flatten)]
        data: Data,
    },
    /// Remove a user, and end the sessions
    #[command(after_help = "Examples:\n  holdfast-server user remove ada")]
    Remove {
        /// Whom
        name: String,
        #[command(flatten)]
        data: Data,
    },
}

/// Where a password comes from.
#[derive(Debug, Args)]
pub(crate) struct Password {
    /// File with the password; a random one is printed if not given
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// `holdfast-server token`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token, and print it: it is not shown again
    #[command(after_help = "\
Examples:
  holdfast-server token create grafana --days 365
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:5150/api/v1/overview")]
    Create {
        /// For people and the audit log
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Role::ReadOnly)]
        role: Role,
        /// For how many days it is valid; until it is revoked if not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
        days: Option<i64>,
        #[command(flatten)]
        show: Show,
    },
    /// List the tokens
    #[command(
        after_help = "Examples:\n  holdfast-server token list\n  holdfast-server token list --json"
    )]
    List(Show),
    /// Take a token away
    #[command(after_help = "Examples:\n  holdfast-server token revoke 3")]
    Revoke {
        /// Its number, as `token list` shows it
        id: i64,
        #[command(flatten)]
        data: Data,
    },
}

/// How something is shown.
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) data: Data,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
