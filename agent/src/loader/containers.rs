//! What the programs are told of containers.
//!
//! Under a lock of its own: the evaluator tells, and does not wait for the kernel to verify the programs of a hook.

use std::sync::{Mutex, PoisonError};

use aya::maps::{HashMap, MapData, MapError};
use holdfast_policy::table::ContainerKey;

use super::inherited;
use super::maps::Maps;
use super::pins::Generation;
use super::pod::Plain;
use super::reason::chain;

/// The map in the kernel's object.
const NAME: &str = "CONTAINERS";

type Entries = HashMap<MapData, Plain<ContainerKey>, u32>;

/// See the module.
pub(super) struct Containers(Mutex<Entries>);

impl Containers {
    /// Takes the map, and enters what the programs that it replaces were told.
    pub(super) fn take<'g>(
        maps: &mut Maps,
        earlier: impl Iterator<Item = &'g Generation>,
    ) -> Result<Self, String> {
        let mut map: Entries = maps.take(NAME)?;
        inherited::take_over(earlier, NAME, &mut map);
        Ok(Self(Mutex::new(map)))
    }

    /// Which of these conditions the container of a cgroup meets.
    pub(super) fn set(&self, key: ContainerKey, held: u32) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(Plain(key), held, 0)
            .map_err(|error| chain(&error))
    }

    /// What was told about this cgroup's container is no longer so.
    pub(super) fn forget(&self, key: ContainerKey) -> Result<(), String> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match map.remove(&Plain(key)) {
            // The map forgets by itself what was not asked for.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }
}
