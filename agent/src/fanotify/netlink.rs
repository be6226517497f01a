//! A netlink socket to the kernel, as bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with, sockopt,
};

use super::thread::wait;

/// What is read at once: the kernel sends dumps in parts of up to 32 KiB.
const PART_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket for this protocol that hears these multicast groups (a bit each). `bytes`: room for what
    /// it did not read yet.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(protocol: Protocol, groups: u32, bytes: usize) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
        let socket = socket_with(family, kind, flags, Some(protocol))?;
        // Beyond the machine's limit where that is permitted, else up to it.
        if sockopt::set_socket_recv_buffer_size_force(&socket, bytes).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self(socket))
    }

    /// Sends a message to the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn send(&self, message: &[u8]) -> Result<(), Errno> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.0, message, SendFlags::empty(), &kernel).map(drop)
    }

    /// Takes what the kernel has sent; empty where there is nothing.
    ///
    /// # Errors
    /// `ENOBUFS`, once, when it could not send something for want of room.
    pub(crate) fn receive(&self) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; PART_BYTES];
        loop {
            let received = recvfrom(&self.0, &mut bytes[..], RecvFlags::empty());
            let (length, _, from) = match received {
                Err(Errno::AGAIN) => return Ok(Vec::new()),
                Err(Errno::INTR) => continue,
                result => result?,
            };
            // Other processes can send too.
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_some_and(|from| from.pid() == 0) {
                bytes.truncate(length);
                return Ok(bytes);
            }
        }
    }

    /// Waits until there is something to receive; `false`: not within the limit.
    ///
    /// # Errors
    /// When the socket cannot be polled.
    pub(crate) fn wait(&self, limit: Duration) -> Result<bool, Errno> {
        let [readable] = wait([(self.0.as_fd(), PollFlags::IN)], Some(limit))?;
        Ok(readable)
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
