//! How many connections there are: of all clients, and of each address, so that one client cannot have all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::limit::network;

/// Connections at a time: those of a fleet that a single node serves, of some KiB each.
const MAX_CONNECTIONS: usize = 4096;

/// See the module.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// The most of an address; none where all come by a proxy.
    most: Option<usize>,
    /// How many each network has, of those that have some: no more than there are connections.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    network: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _free: OwnedSemaphorePermit,
}

impl Places {
    /// At most `most` of an address, where that is given.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            most,
            taken: Arc::default(),
        }
    }

    /// Waits until there is room for one more connection, whoever's.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.free.clone().acquire_owned().await.ok()
    }

    /// The place of a connection from this address in that room; `None` where the address has as many as it may.
    pub(super) fn take(&self, room: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut taken = lock(&self.taken);
        let count = taken.entry(network).or_default();
        if self.most.is_some_and(|most| *count >= most) {
            return None;
        }
        *count += 1;
        Some(Place {
            network,
            taken: self.taken.clone(),
            _free: room,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

fn lock(taken: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_some_of_the_places_and_the_others_have_the_rest() {
        let places = Places::new(Some(2));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let take = async |address| places.take(places.room().await.unwrap(), address);
        let first = take(one).await;
        let second = take(one).await;
        assert!(first.is_some() && second.is_some() && take(one).await.is_none());
        // Who is refused keeps no room.
        assert_eq!(places.free.available_permits(), MAX_CONNECTIONS - 2);
        assert!(take("192.0.2.2".parse().unwrap()).await.is_some());
        drop(first);
        assert!(take(one).await.is_some());
        drop(second);
        assert!(lock(&places.taken).is_empty());
    }

    #[tokio::test]
    async fn behind_a_proxy_all_come_from_one_address() {
        let places = Places::new(None);
        let mut held = Vec::new();
        for _ in 0..100 {
            let room = places.room().await.unwrap();
            held.push(places.take(room, IpAddr::from([127, 0, 0, 1])).unwrap());
        }
    }
}
