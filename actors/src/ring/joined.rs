//! Two rings as one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::kernel::Ring;

/// What is in either of two rings; the first's comes first.
pub struct Joined {
    rings: [Box<dyn Ring>; 2],
    readable: OwnedFd,
}

impl Joined {
    /// Both behind one descriptor, which is readable when either is.
    ///
    /// # Errors
    /// When there is no descriptor to be had.
    pub fn new(rings: [Box<dyn Ring>; 2]) -> std::io::Result<Self> {
        let readable = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for ring in &rings {
            let (data, flags) = (epoll::EventData::new_u64(0), epoll::EventFlags::IN);
            epoll::add(&readable, ring.fd(), data, flags)?;
        }
        Ok(Self { rings, readable })
    }
}

impl Ring for Joined {
    fn fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let [first, second] = &mut self.rings;
        first.next(take) || second.next(take)
    }

    fn release(&mut self, until: u64) {
        for ring in &mut self.rings {
            ring.release(until);
        }
    }

    fn give_up(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.give_up());
    }

    fn complete_until(&self, now: u64) -> u64 {
        let [first, second] = &self.rings;
        first.complete_until(now).min(second.complete_until(now))
    }
}
