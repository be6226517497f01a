//! Fixed part of records about containers, which the sensor itself writes: engines tell it of them.

/// `container.start`, `container.exit`. The header's process is the container's first one. String: its id.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Lifecycle {
    /// What the first process ended with, as its engine says; [`NO_EXIT_CODE`] where it does not.
    pub exit_code: i32,
    /// Bytes of the id.
    pub id_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

/// [`Lifecycle::exit_code`] of a container that starts, or of which no engine says it.
pub const NO_EXIT_CODE: i32 = i32::MIN;

const _: () = assert!(size_of::<Lifecycle>() == 8);
