//! Holdfast's policies: documents in, decisions out. No I/O, and no knowledge of actors.
//!
//! [`table`] and [`decision`] are `no_std`: the same source decides in the kernel programs and in
//! user space. The rest needs the `std` feature.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod decision;
pub mod table;
