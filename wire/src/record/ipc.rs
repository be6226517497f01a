//! Fixed parts of records about System V shared memory and POSIX message queues.

/// `ipc.shm`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Shm {
    /// One of [`operation`].
    pub operation: u32,
    /// Flags of the call; of a segment that is being made [`IPC_CREAT`] alone.
    pub flags: u32,
    /// `kern_ipc_perm.key`; 0 (`IPC_PRIVATE`) for none, and when unknown.
    pub key: i32,
    /// `kern_ipc_perm.id`; -1 when unknown, and for a segment that is being made.
    pub id: i32,
    /// Owner; `u32::MAX` when unknown, and for a segment that is being made.
    pub owner: u32,
    /// Permissions; `u32::MAX` when unknown.
    pub mode: u32,
}

/// Values of [`Shm::operation`].
pub mod operation {
    /// `shmget(2)`: a segment is made or looked up.
    pub const SHMGET: u32 = 0;
    /// `shmat(2)`: a segment is mapped.
    pub const SHMAT: u32 = 1;
}

/// `include/uapi/linux/ipc.h`
pub const IPC_CREAT: u32 = 0o1000;

/// `ipc.mq`: `mq_open(2)`. String: the name, as it was given.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mq {
    /// Open flags.
    pub flags: u32,
    /// Bytes of the name.
    pub name_length: u16,
    /// Explicit padding, zero.
    pub reserved: u16,
}

const _: () = {
    assert!(size_of::<Shm>() == 24);
    assert!(size_of::<Mq>() == 8);
};
