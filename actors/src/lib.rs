//! The actors of Holdfast: one per concern, under one root supervisor.
//!
//! pub mod list follows in the drawing's order.

mod clock;
mod degraded;
mod evaluator;
mod health;
pub mod kernel;
mod killer;
mod lane;
mod ledger;
mod probe;
mod reader;
pub mod root;
pub mod sink;
mod supervisor;
