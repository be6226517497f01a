//! End-to-end scenarios of Holdfast and what runs them.
//!
//! A [`scenario`] starts the real binary, does things on the machine and looks at what the sensor
//! says and does. The same `scenario` binary runs them natively and, as `/init`, in guest kernels;
//! the `guest` binary boots those kernels and prints the table of results.
//!
//! * what a scenario has in its hands: [`bench`], [`sensor`], [`control`], [`events`], [`command`], [`act`],
//!   [`cgroup`], [`load`]; engines of containers: [`engine`], [`cri`], [`podman`]
//! * what is measured: [`cost`], [`usage`], [`native`], [`noop`]; what it is to be: [`goals`]
//! * what runs it: [`runner`] (one process each, with a time limit), [`init`] (pid 1 of a guest)
//! * where it applies: [`place`]
//! * the host side of guests: [`guest`]
//! * what the programs' source says of the kernel: [`prototype`]

pub mod act;
pub mod bench;
pub mod cgroup;
pub mod command;
pub mod control;
pub mod cost;
pub mod cri;
pub mod crowd;
pub mod engine;
pub mod events;
pub mod goals;
pub mod guest;
pub mod init;
#[cfg(test)]
mod inventory;
pub mod load;
pub mod native;
pub mod noop;
#[cfg(test)]
mod page;
pub mod place;
pub mod podman;
pub mod prototype;
pub mod report;
pub mod rlimit;
pub mod runner;
pub mod scenario;
pub mod sensor;
pub mod usage;
