//! One sensor per runtime directory: a lock that the kernel gives back when its holder dies, however
//! it dies, so that nothing stale can stop the next start.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Whoever can open the file can lock it (flock(2)), and would keep the next sensor from starting.
const MODE: u32 = 0o600;

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    /// Another sensor has it.
    #[error("another sensor is running here as pid {0}: stop it first (holdfast stop)")]
    Running(String),
    /// The lock file could not be made.
    #[error("cannot lock {path}: {source}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The lock; held until dropped. Its file stays: removing it would let two sensors lock two files of
/// one name.
#[derive(Debug)]
pub(crate) struct Instance {
    _lock: File,
}

impl Instance {
    /// Takes the lock beside the control socket, and makes their directory if it is missing.
    ///
    /// # Errors
    /// When another sensor has it, or the file cannot be made.
    pub(crate) fn acquire(socket: &Path) -> Result<Self, InstanceError> {
        let path = socket.with_extension("lock");
        let failed = |source| InstanceError::Lock {
            path: path.clone(),
            source,
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&path)
            .map_err(failed)?;
        // It may be there already.
        file.set_permissions(Permissions::from_mode(MODE))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Its pid is a courtesy; that it holds the lock is what counts.
                let _ = file.take(16).read_to_string(&mut holder);
                return Err(InstanceError::Running(holder.trim().to_owned()));
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _lock: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_the_first_ones_pid_and_a_stale_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/control.sock");
        let first = Instance::acquire(&socket).unwrap();
        let Err(InstanceError::Running(pid)) = Instance::acquire(&socket) else {
            panic!("two sensors");
        };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(socket.with_extension("lock").exists());
        Instance::acquire(&socket).unwrap();
    }

    #[test]
    fn nobody_else_can_open_the_file_and_so_lock_it() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let lock = socket.with_extension("lock");
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
        let _instance = Instance::acquire(&socket).unwrap();
        assert_eq!(
            fs::metadata(&lock).unwrap().permissions().mode() & 0o777,
            MODE
        );
    }
}
