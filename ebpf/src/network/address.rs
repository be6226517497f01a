//! Addresses of sockets: IPv4, IPv6, and the names of Unix sockets.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

use crate::bound::mask;
use crate::emit::Emitter;
use crate::offset;
use crate::task::{embedded, pointer, read};

/// Address families of `include/linux/socket.h`.
pub const AF_UNSPEC: u16 = 0;
pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
pub const AF_NETLINK: u16 = 16;

/// An address as it stands in records, in words of the machine: IPv4 as `::ffff:a.b.c.d`.
pub type Words = [u64; 2];

/// One end of a connection.
#[derive(Clone, Copy)]
pub struct End {
    pub address: Words,
    /// In host order.
    pub port: u16,
}

impl End {
    pub const NONE: Self = Self {
        address: [0; 2],
        port: 0,
    };

    /// A socket's own end, as `bind(2)` or the kernel chose it.
    #[inline(always)]
    pub fn own(sock: u64, family: u16) -> Self {
        let address = if family == AF_INET {
            mapped(read(sock, offset!(sock_address)))
        } else {
            read(sock, offset!(sock_address6))
        };
        let port = read(sock, offset!(sock_port));
        Self { address, port }
    }

    /// The end that a socket is connected to.
    #[inline(always)]
    pub fn peer(sock: u64, family: u16) -> Self {
        let address = if family == AF_INET {
            mapped(read(sock, offset!(sock_peer_address)))
        } else {
            read(sock, offset!(sock_peer_address6))
        };
        let port = u16::from_be(read(sock, offset!(sock_peer_port)));
        Self { address, port }
    }
}

/// An IPv4 address, as four bytes in network order, behind its prefix `::ffff:0:0/96`.
#[inline(always)]
fn mapped(address: u32) -> Words {
    [0, u64::from(0xffff_u32.to_be()) | u64::from(address) << 32]
}

/// Whether the family is one of those that have [`End`]s.
#[inline(always)]
pub fn is_internet(family: u16) -> bool {
    family == AF_INET || family == AF_INET6
}

/// A `struct sockaddr`, and whose memory it is in.
#[derive(Clone, Copy)]
pub struct Given {
    pub memory: Memory,
    pub at: u64,
    /// Bytes of it.
    pub length: u64,
}

/// Whose memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    Kernel,
    User,
}

impl Memory {
    /// Reads `bytes` to `to`; 0 when it could.
    ///
    /// # Safety
    /// `to` has room for as many.
    #[inline(always)]
    pub unsafe fn copy(self, to: *mut u8, bytes: u32, from: u64) -> i64 {
        // SAFETY: the helpers check the source; the target is the caller's.
        unsafe {
            match self {
                Self::Kernel => bpf_probe_read_kernel(to.cast(), bytes, from as *const _),
                Self::User => bpf_probe_read_user(to.cast(), bytes, from as *const _),
            }
        }
    }

    /// Reads a number; zero where it cannot be read.
    #[inline(always)]
    pub fn read<T: Copy>(self, from: u64) -> T {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helpers write all of it in any case; T is an integer or an array of integers.
        unsafe {
            self.copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
            value.assume_init()
        }
    }
}

impl Given {
    /// No address.
    pub const NONE: Self = Self {
        memory: Memory::Kernel,
        at: 0,
        length: 0,
    };

    /// Where a `struct msghdr` says that a message goes, or is to say whence it came; at 0 when nobody gave one.
    #[inline(always)]
    pub fn of_message(message: u64) -> Self {
        let length: u32 = read(message, offset!(message_name_length));
        Self {
            memory: Memory::Kernel,
            at: pointer(message, offset!(message_name)),
            length: u64::from(length),
        }
    }

    /// `sa_family`; [`AF_UNSPEC`] for what is too short to have one.
    #[inline(always)]
    pub fn family(&self) -> u16 {
        if self.length < 2 {
            AF_UNSPEC
        } else {
            self.memory.read(self.at)
        }
    }

    /// The end that it names as an address of `family`; `None` when it is too short.
    #[inline(always)]
    pub fn end(&self, family: u16) -> Option<End> {
        // `struct sockaddr_in`: family, port, address. `struct sockaddr_in6`: family, port, four bytes
        // of flow information, address.
        let (bytes, at) = if family == AF_INET { (16, 4) } else { (24, 8) };
        if self.length < bytes {
            return None;
        }
        let port = u16::from_be(self.memory.read(self.at + 2));
        let address = if family == AF_INET {
            mapped(self.memory.read(self.at + at))
        } else {
            self.memory.read(self.at + at)
        };
        Some(End { address, port })
    }
}

/// The name of a Unix socket.
#[derive(Clone, Copy)]
pub struct Name {
    /// Where a socket in the file system stands; 0 for all others.
    pub vfsmount: u64,
    /// See `vfsmount`.
    pub dentry: u64,
    /// The name as it was given to `bind(2)` or to the call: `struct sockaddr_un`.
    pub given: Given,
}

impl Name {
    /// Of what is no Unix socket.
    pub const NONE: Self = Self {
        vfsmount: 0,
        dentry: 0,
        given: Given::NONE,
    };

    /// As the caller gave it: what it names is not looked up yet.
    #[inline(always)]
    pub fn given(given: Given) -> Self {
        Self {
            given,
            ..Self::NONE
        }
    }

    /// The name that a Unix socket has been bound to.
    #[inline(always)]
    pub fn of(sock: u64) -> Self {
        let path = embedded(sock, offset!(unix_path));
        let address = pointer(sock, offset!(unix_address));
        let length: u32 = read(address, offset!(unix_address_length));
        Self {
            vfsmount: pointer(path, offset!(path_mnt)),
            dentry: pointer(path, offset!(path_dentry)),
            given: Given {
                memory: Memory::Kernel,
                at: embedded(address, offset!(unix_address_name)),
                length: u64::from(length),
            },
        }
    }

    /// Appends it as it was given, which may begin with a NUL; the number of bytes.
    #[inline(always)]
    pub fn append(&self, record: &mut Emitter) -> u16 {
        /// `sun_path` of `struct sockaddr_un`, and where it begins.
        const PATH: u64 = 108;
        const AT: u64 = 2;
        let length = mask::<127>(self.given.length.saturating_sub(AT).min(PATH));
        let from = self.given.at + AT;
        // SAFETY: the record has room for so many bytes behind any offset.
        let failed = unsafe { self.given.memory.copy(record.tail(), length as u32, from) };
        if failed != 0 {
            return 0;
        }
        record.advance(length);
        length as u16
    }
}
