//! Which shared types may be copied to and from maps byte by byte.
#![allow(unsafe_code)] // `aya::Pod` is a promise about a type's bytes.

use holdfast_policy::table::{ContainerKey, HookTable, NumberKey};
use holdfast_wire::control::{Bucket, CapKey, Control, Counters, Lineage, ProcessKey};

/// A shared type as a map's key or value.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: each is `repr(C)`, of integers only, without padding (sizes are asserted where they are
// defined), so every byte of it is written and every pattern of bytes is a value.
unsafe impl aya::Pod for Plain<Control> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Counters> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Bucket> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<CapKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<HookTable> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<ContainerKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<NumberKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<ProcessKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Lineage> {}
