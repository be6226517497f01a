//! Of which cgroups the kernel programs know the container: for each, which conditions of the policies in force
//! it meets. Told again when an engine tells of the container, and when other policies come into force.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use holdfast_policy::lookup::held_by;
use holdfast_policy::snapshot::Snapshot;
use holdfast_policy::table::{CONTAINER_ENTRIES, ContainerKey};

use super::cgroup::Container;
use crate::evaluator::build;
use crate::kernel::KernelError;
use crate::root::shared::Shared;

/// By cgroup; `None`: it is the host's. What is told is found out with the lock held, after whatever changed it:
/// the last who tells knows the latest.
#[derive(Debug, Default)]
pub(crate) struct Entered(Mutex<HashMap<u64, Option<Arc<Container>>>>);

impl Entered {
    /// It is known which container a cgroup is part of, and all that will be told of it for now.
    ///
    /// # Errors
    /// When the programs cannot be told; user space then decides on it.
    pub(crate) fn enter(
        &self,
        shared: &Shared,
        cgroup: u64,
        container: Option<&Arc<Container>>,
    ) -> Result<(), KernelError> {
        let mut entered = self.lock();
        if entered.contains_key(&cgroup) {
            return Ok(());
        }
        if entered.len() >= CONTAINER_ENTRIES {
            for (cgroup, _) in entered.drain() {
                forget(shared, cgroup)?;
            }
        }
        entered.insert(cgroup, container.cloned());
        let snapshot = shared.policies.current();
        tell(shared, &snapshot, cgroup, container.map(|it| &**it))
    }

    /// An engine has told of a container.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) fn renew(&self, shared: &Shared, id: &str) -> Result<(), KernelError> {
        let entered = self.lock();
        let snapshot = shared.policies.current();
        for (cgroup, container) in entered.iter() {
            if let Some(container) = container
                && container.id == id
            {
                tell(shared, &snapshot, *cgroup, Some(container))?;
            }
        }
        Ok(())
    }

    /// Other policies come into force: before they do, so that the programs know at once; and when they have, since
    /// an engine may have told something meanwhile.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) fn renew_all(
        &self,
        shared: &Shared,
        snapshot: &Snapshot,
    ) -> Result<(), KernelError> {
        let entered = self.lock();
        let mut all = entered.iter();
        all.try_for_each(|(cgroup, container)| {
            tell(shared, snapshot, *cgroup, container.as_deref())
        })
    }

    /// A container has ended.
    ///
    /// # Errors
    /// When the programs cannot be told.
    pub(crate) fn end(&self, shared: &Shared, id: &str) -> Result<(), KernelError> {
        let is_its = |_: &u64, container: &mut Option<Arc<Container>>| {
            container.as_ref().is_some_and(|it| it.id == id)
        };
        let mut entered = self.lock();
        let mut ended = entered.extract_if(is_its);
        ended.try_for_each(|(cgroup, _)| forget(shared, cgroup))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Arc<Container>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the conditions of former policies it is told no more: what the map has of them goes when room is needed.
fn forget(shared: &Shared, cgroup: u64) -> Result<(), KernelError> {
    let key = key(&shared.policies.current(), cgroup);
    shared.kernel.forget_container(key)
}

fn key(snapshot: &Snapshot, cgroup: u64) -> ContainerKey {
    ContainerKey {
        cgroup,
        conditions: snapshot.tables().container_digest,
    }
}

fn tell(
    shared: &Shared,
    snapshot: &Snapshot,
    cgroup: u64,
    container: Option<&Container>,
) -> Result<(), KernelError> {
    let conditions = &snapshot.tables().container_conditions;
    if conditions.is_empty() {
        return Ok(());
    }
    let shown = container.map(|named| shared.containers.shown(named));
    let held = held_by(conditions, &build::of_container(shown.as_ref()));
    shared.kernel.set_container(key(snapshot, cgroup), held)
}
