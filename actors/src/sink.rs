//! Sinks: where events go.

pub mod tail;
