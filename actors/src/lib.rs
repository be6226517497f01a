//! The actors of Holdfast: one per concern, under one root supervisor.
//!
//! # The tree, and the way of an event through it
//!
//! ```text
//!  agent ──Handle──▶ root ── supervises everything below, each child on its own
//!                     │
//!   kernel programs   ├─ probe.process.exec … probe.network.connect   attach, detach, count
//!        │            │
//!        ▼ ring       │                  (engine.* tell of containers in a ring beside it)
//!     ╔══════════╗    ├─ reader.process · reader.file · reader.network
//!     ║ intakes  ║◀───┘      ring → batch → lane
//!     ╚══════════╝    │
//!        │ lane       ├─ evaluator      merge by time → process facts → policies → event
//!        ▼            │       │  ▲
//!     ╔══════════╗    │  lane ▼  │ answer
//!     ║evaluation║◀───┤   killer           pidfd, identity, never-kill list
//!     ╚══════════╝    │
//!        │ lane       ├─ sink.stdout · sink.file          write; followers get lines directly
//!        ▼            ├─ sink.uplink · uplink             spool, and what sends it, where there is a server
//!     ╔══════════╗    └─ health         READY, STATUS, WATCHDOG; what the sensor itself uses
//!     ║ outlets  ║
//!     ╚══════════╝      ╔═╗ owned by the root: what is in flight dies with no actor
//! ```
//!
//! Data goes by bounded lanes, one way. A full lane stops its reader, and the ring's loss is counted
//! by the kernel programs; a sink's full lane refuses, and is counted at that sink.
//!
//! # Messages
//!
//! ```text
//!  from        to           message                          answer
//!  ──────────  ───────────  ───────────────────────────────  ────────────────────────────
//!  Handle      root         Status · Namespaces · Stop ·     yes, with a time limit each
//!                           Reload · Settled · Fail
//!  root        any child    Order(Drain | Fail)              it ends, which the root sees
//!  root        evaluator    Reload(snapshot, reply)          to the Handle, not the root
//!  evaluator   root         PolicyChanged                    –
//!  root        probes       Reconcile                        –
//!  probe       root         Reported(kind, epoch)            – (the last one makes it ready,
//!                                                            or settles a reload)
//!  any worker  itself       Work, Tick                       –
//! ```
//!
//! Nobody but the root holds a reference to an actor that can be restarted, so none goes stale:
//! [`root`] announces each new incarnation at one place. No actor waits for another, save the
//! evaluator for the killer's answer, for a quarter of a second at most. A handler works or waits for
//! about a tenth of a second at most, so that a control message is never far from being handled.

mod caps;
pub mod clock;
mod degraded;
mod evaluator;
mod health;
pub mod kernel;
mod killer;
mod lane;
mod ledger;
mod losses;
pub mod namespace;
mod probe;
mod reader;
pub mod ring;
pub mod root;
pub mod runtime;
pub mod sink;
mod supervisor;
pub mod uplink;
