//! The actors of Holdfast: one per concern, under one root supervisor.

pub mod kernel;
pub mod root;
pub mod sink;
