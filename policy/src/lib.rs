//! Holdfast's policies: documents in, decisions out. No I/O, and no knowledge of actors.
//!
//! The way of a policy: [`document`] (JSON, with positions) → [`expression`] (CEL, checked against
//! the table in [`field`]) → `stage` (what the kernel can decide, in disjunctive form) →
//! [`compile`] (a [`snapshot::Snapshot`]: the kernel's tables and the user-space rules) →
//! [`matcher`] (judges events).
//!
//! [`table`] and [`decision`] are `no_std`: the same source decides in the kernel programs and in
//! user space. The rest needs the `std` feature.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod decision;
pub mod table;

#[cfg(feature = "std")]
pub mod compile;
#[cfg(feature = "std")]
pub mod derive;
#[cfg(feature = "std")]
pub mod document;
#[cfg(feature = "std")]
pub mod error;
#[cfg(feature = "std")]
pub mod explain;
#[cfg(feature = "std")]
pub mod expression;
#[cfg(feature = "std")]
pub mod field;
#[cfg(feature = "std")]
mod index;
#[cfg(feature = "std")]
mod json;
#[cfg(feature = "std")]
pub mod lookup;
#[cfg(feature = "std")]
pub mod matcher;
#[cfg(feature = "std")]
pub mod message;
#[cfg(feature = "std")]
mod plan;
#[cfg(feature = "std")]
pub mod redact;
#[cfg(feature = "std")]
pub mod replay;
#[cfg(feature = "std")]
pub mod sequence;
#[cfg(feature = "std")]
pub mod sigma;
#[cfg(feature = "std")]
pub mod snapshot;
#[cfg(feature = "std")]
mod stage;
#[cfg(feature = "std")]
pub mod test;
#[cfg(feature = "std")]
pub mod throttle;
