//! Everything that crosses a boundary in Holdfast.
//!
//! * kernel → user: [`record`] (what the kernel programs write), [`decode`] (how it is read back),
//!   [`encode`] (how the tier without programs writes it), [`control`] (the small maps both sides
//!   share), [`layout`] (the kernel struct fields that the programs read) and [`btf`] (where the running
//!   kernel has them), [`ledger`] (what was counted), [`uapi`] (what the kernel writes by itself);
//! * agent → people: [`event`], the Elastic Common Schema object that is printed, stored and judged,
//!   and [`text`], how bytes are shown in it;
//! * sensor ↔ Team Server: [`frame`], batches of events, [`keys`], what these are found by there, and [`uplink`], the rest of what they say
//!   to each other;
//! * sensor → disk → sensor: [`spool`], what waits for the Team Server.
//!
//! The crate does no I/O. Without the `std` feature it is what the kernel programs link.
//!
//! # What may change, and how
//!
//! Records, control maps and the layout table are one ABI between an agent and the kernel programs
//! that it may find still running. Any change to one of them increments [`ABI_VERSION`].
#![cfg_attr(not(feature = "std"), no_std)]

pub mod control;
pub mod kind;
pub mod layout;
pub mod ledger;
pub mod record;

#[cfg(feature = "std")]
pub mod backoff;
#[cfg(feature = "std")]
pub mod btf;
#[cfg(feature = "std")]
mod codec;
#[cfg(feature = "std")]
pub mod decode;
#[cfg(feature = "std")]
pub mod dns;
#[cfg(feature = "std")]
pub mod encode;
#[cfg(feature = "std")]
pub mod event;
#[cfg(feature = "std")]
pub mod frame;
#[cfg(feature = "std")]
pub mod keys;
#[cfg(feature = "std")]
pub mod spool;
#[cfg(feature = "std")]
pub mod text;
#[cfg(feature = "std")]
pub mod uapi;
#[cfg(feature = "std")]
pub mod uplink;

pub use kind::{Domain, Kind};

/// Version of everything shared between the kernel programs and the agent; stands in every record.
pub const ABI_VERSION: u16 = 1;
