//! What one of several servers does: it holds a lock of the database, for as long as it has the connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Address;
use super::session::Session;
use crate::store::connection::Result;
use crate::store::value::params;

/// A right that one server has at a time.
pub(in crate::store) struct Lease {
    address: Address,
    /// What it is for.
    name: &'static str,
    claim: Arc<Mutex<Option<Claim>>>,
}

struct Claim {
    session: Session,
    held: bool,
}

impl Claim {
    /// Whether the right is had, or got now. An error ends the connection, and the right with it.
    fn look(&mut self, name: &str) -> Result<bool> {
        if self.held {
            self.session.batch("SELECT 1")?;
        } else {
            let statement = "SELECT pg_try_advisory_lock(2, hashtext(?1))";
            let rows = self.session.query(statement, params![name])?;
            self.held = match rows.first() {
                Some(row) => row.try_get(0)?,
                None => false,
            };
        }
        Ok(self.held)
    }
}

impl Lease {
    pub(in crate::store) fn new(address: Address, name: &'static str) -> Self {
        Self {
            address,
            name,
            claim: Arc::default(),
        }
    }

    /// Whether it is this server's now, which it tries to become.
    pub(in crate::store) async fn is_held(&self) -> bool {
        let (address, name, claim) = (self.address.clone(), self.name, self.claim.clone());
        let look = move || {
            let mut kept = claim.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = match kept.take() {
                Some(claim) => Ok(claim),
                None => address.open("SET jit = off").map(|session| Claim {
                    session,
                    held: false,
                }),
            };
            // Where the database is away nobody has it.
            let Ok(mut claim) = looked else {
                return false;
            };
            let held = claim.look(name);
            if held.is_ok() {
                *kept = Some(claim);
            }
            held.unwrap_or(false)
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let claim = self
            .claim
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // As in `pool`: it waits for its goodbye.
        let _ = thread::spawn(move || drop(claim)).join();
    }
}
