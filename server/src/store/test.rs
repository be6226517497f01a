//! Stores of tests: a test has its body done with each database.

use std::cell::{Cell, RefCell};

use super::{Connection, postgres, sqlite};

#[path = "../../tests/server/postgres.rs"]
#[expect(dead_code, reason = "the tests of the binary want more of it")]
mod cluster;

pub(crate) use cluster::Cluster;

thread_local! {
    /// The PostgreSQL whose turn it is; `None`: SQLite's.
    static CLUSTER: RefCell<Option<Cluster>> = const { RefCell::new(None) };
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// Does `body` with SQLite, and then with PostgreSQL.
pub(crate) fn both(body: impl Fn()) {
    body();
    CLUSTER.set(Some(Cluster::start()));
    body();
    CLUSTER.set(None);
}

/// A new store of the database whose turn it is.
pub(crate) fn empty() -> Connection {
    CLUSTER.with_borrow(|cluster| match cluster {
        None => sqlite::in_memory(),
        Some(cluster) => {
            MADE.set(MADE.get() + 1);
            connected(&cluster.database(&format!("test{}", MADE.get())))
        }
    })
}

/// A connection to a database, with partitions around 1970, which is when tests are.
pub(crate) fn connected(address: &str) -> Connection {
    let address = postgres::Address::new(address).unwrap();
    let connection = postgres::connect(&address).unwrap();
    super::prepare(&connection, 0).unwrap();
    connection
}
