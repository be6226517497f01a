//! What the kernel itself writes for everybody to read: messages and files whose form is the kernel's
//! user-space interface. Bytes in, values out; nothing is trusted, and all of it is fuzzed.

pub mod connector;
pub mod fanotify;
pub mod inet_diag;
pub mod mounts;
pub mod netlink;
pub mod process;

/// Bytes that are no message of the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the kernel wrote no {} that is known", self.0)
    }
}

impl core::error::Error for Malformed {}

/// The 16 bits at `at`, in the machine's order.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 32 bits at `at`, in the machine's order.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64 bits at `at`, in the machine's order.
fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
