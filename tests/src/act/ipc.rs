//! What is shared between processes, and sent from one to another.

use std::ffi::CString;
use std::io;

use super::{Done, call, parsed};

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["share-memory", key] => {
            parsed(key).and_then(|key| call::share_memory(key, &call::Where::Anywhere))
        }
        ["share-memory-over", key] => {
            parsed(key).and_then(|key| call::share_memory(key, &call::Where::Occupied))
        }
        ["make-queue", name] => make_queue(name),
        ["open-queue", name] => CString::new(*name)
            .map_err(io::Error::other)
            .and_then(|name| call::open_queue(&name, libc::O_RDONLY)),
        _ => return None,
    })
}

/// Makes a queue and removes it.
fn make_queue(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(io::Error::other)?;
    call::open_queue(&name, libc::O_RDWR | libc::O_CREAT)?;
    call::remove_queue(&name)
}
