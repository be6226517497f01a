//! Of which cgroups the kernel programs know the container: for each, which conditions of the policies in force
//! it meets. Told again when an engine tells of the container, and when other policies come into force.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_policy::lookup::held_by;
use holdfast_policy::table::CONTAINER_ENTRIES;

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
                shared.kernel.forget_container(cgroup)?;
            }
        }
        entered.insert(cgroup, container.cloned());
        tell(shared, cgroup, container.map(|it| &**it))
    }

    /// An engine has told of a container.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) fn renew(&self, shared: &Shared, id: &str) -> Result<(), KernelError> {
        let entered = self.lock();
        for (cgroup, container) in entered.iter() {
            if let Some(container) = container
                && container.id == id
            {
                tell(shared, *cgroup, Some(container))?;
            }
        }
        Ok(())
    }

    /// Other policies are in force.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) fn renew_all(&self, shared: &Shared) -> Result<(), KernelError> {
        let entered = self.lock();
        let mut all = entered.iter();
        all.try_for_each(|(cgroup, container)| tell(shared, *cgroup, container.as_deref()))
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
        ended.try_for_each(|(cgroup, _)| shared.kernel.forget_container(cgroup))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Arc<Container>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(shared: &Shared, cgroup: u64, container: Option<&Container>) -> Result<(), KernelError> {
    let snapshot = shared.policies.current();
    let conditions = &snapshot.tables().container_conditions;
    if conditions.is_empty() {
        return Ok(());
    }
    let shown = container.map(|named| shared.containers.shown(named));
    let held = held_by(conditions, &build::of_container(shown.as_ref()));
    shared.kernel.set_container(cgroup, snapshot.epoch(), held)
}
