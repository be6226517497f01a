//! What the programs are told of containers.
//!
//! Under a lock of its own: the evaluator tells, and does not wait for the kernel to verify the programs of a hook.

use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError};
use holdfast_policy::table::container_entry;

use super::reason::chain;

/// See the module.
pub(super) struct Containers(Mutex<HashMap<MapData, u64, u64>>);

impl Containers {
    /// Takes the map out of `ebpf`.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, String> {
        let map = ebpf.take_map("CONTAINERS");
        let map = map.ok_or("the object has no map CONTAINERS")?;
        let map = map.try_into().map_err(|error: MapError| chain(&error))?;
        Ok(Self(Mutex::new(map)))
    }

    /// Which conditions of the policies of `epoch` the container of a cgroup meets.
    pub(super) fn set(&self, cgroup: u64, epoch: u32, held: u32) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(cgroup, container_entry(epoch, held), 0)
            .map_err(|error| chain(&error))
    }

    /// What was told about this cgroup's container is no longer so.
    pub(super) fn forget(&self, cgroup: u64) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.remove(&cgroup) {
            // The map forgets by itself what was not asked for.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }
}
