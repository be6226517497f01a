//! The tracepoint tier of sockets. Addresses are the caller's arguments, which it can change after
//! they were read; what a socket has been told before is in the kernel's structures.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;

use super::address::{Given, Memory};
use super::{
    MSG_FASTOPEN, judge_accept, judge_address, judge_create, judge_fast_open, judge_listen,
};
use crate::attach::Via;
use crate::offset;
use crate::syscall::{field, file_of_descriptor};
use crate::task::{current, pointer, read};

/// `sys_enter_socket(family, type, protocol)` and `socketpair`
#[tracepoint]
pub fn network_socket_enter(context: TracePointContext) -> u32 {
    /// `SOCK_TYPE_MASK` of `include/linux/net.h`: the rest are flags of the descriptor.
    const TYPE: u16 = 0xf;
    judge_create(
        Via::tracepoint(&context),
        field(&context, 0) as u16,
        field(&context, 1) as u16 & TYPE,
        field(&context, 2) as u16,
    );
    0
}

/// `sys_enter_connect(fd, uservaddr, addrlen)`
#[tracepoint]
pub fn network_connect_enter(context: TracePointContext) -> u32 {
    by_argument(Kind::NetworkConnect, &context, 1, 2)
}

/// `sys_enter_bind(fd, umyaddr, addrlen)`
#[tracepoint]
pub fn network_bind_enter(context: TracePointContext) -> u32 {
    by_argument(Kind::NetworkBind, &context, 1, 2)
}

/// `sys_enter_sendto(fd, buff, len, flags, addr, addr_len)`
#[tracepoint]
pub fn network_sendto_enter(context: TracePointContext) -> u32 {
    by_argument(Kind::NetworkSend, &context, 4, 5)
}

/// `sys_enter_sendmsg(fd, msg, flags)`, and the first message of `sendmmsg(fd, mmsg, vlen, flags)`:
/// a `struct mmsghdr` begins with a `struct user_msghdr`, and that with the address and its length.
#[tracepoint]
pub fn network_sendmsg_enter(context: TracePointContext) -> u32 {
    let [at, length]: [u64; 2] = Memory::User.read(field(&context, 1));
    let length = u64::from(length as u32);
    to_address(&context, Kind::NetworkSend, at, length)
}

/// `sys_enter_sendto(fd, buff, len, flags, addr, addr_len)`, by which TCP Fast Open connects
#[tracepoint]
pub fn network_fast_open_sendto_enter(context: TracePointContext) -> u32 {
    let length = u64::from(field(&context, 5) as u32);
    fast_open(&context, field(&context, 3), field(&context, 4), length)
}

/// `sys_enter_sendmsg(fd, msg, flags)`
#[tracepoint]
pub fn network_fast_open_sendmsg_enter(context: TracePointContext) -> u32 {
    let [at, length]: [u64; 2] = Memory::User.read(field(&context, 1));
    fast_open(&context, field(&context, 2), at, u64::from(length as u32))
}

/// The first message of `sys_enter_sendmmsg(fd, mmsg, vlen, flags)`; a socket connects once.
#[tracepoint]
pub fn network_fast_open_sendmmsg_enter(context: TracePointContext) -> u32 {
    let [at, length]: [u64; 2] = Memory::User.read(field(&context, 1));
    fast_open(&context, field(&context, 3), at, u64::from(length as u32))
}

#[inline(always)]
fn fast_open(context: &TracePointContext, flags: u64, at: u64, length: u64) -> u32 {
    if flags as u32 & MSG_FASTOPEN != 0 {
        let given = Given {
            memory: Memory::User,
            at,
            length,
        };
        let socket = socket_of_descriptor(field(context, 0));
        judge_fast_open(Via::tracepoint(context), socket, given);
    }
    0
}

/// Descriptor, and where among the arguments address and length are.
#[inline(always)]
fn by_argument(kind: Kind, context: &TracePointContext, at: usize, length: usize) -> u32 {
    let length = u64::from(field(context, length) as u32);
    to_address(context, kind, field(context, at), length)
}

#[inline(always)]
fn to_address(context: &TracePointContext, kind: Kind, at: u64, length: u64) -> u32 {
    if at != 0 {
        let given = Given {
            memory: Memory::User,
            at,
            length,
        };
        let socket = socket_of_descriptor(field(context, 0));
        judge_address(kind, Via::tracepoint(context), socket, given);
    }
    0
}

/// `sys_enter_listen(fd, backlog)`
#[tracepoint]
#[inline(always)]
pub fn network_listen_enter(context: TracePointContext) -> u32 {
    match socket_of_descriptor(field(&context, 0)) {
        0 => {}
        socket => {
            judge_listen(socket, Via::tracepoint(&context));
        }
    }
    0
}

/// `sys_exit_{accept,accept4}`
#[tracepoint]
pub fn network_accept_exit(context: TracePointContext) -> u32 {
    match socket_of_descriptor(field(&context, 0)) {
        0 => {}
        socket => {
            let sock = pointer(socket, offset!(socket_sk));
            judge_accept(socket, sock, Via::tracepoint(&context));
        }
    }
    0
}

/// The `struct socket` behind a descriptor of the current task; 0 when there is none.
#[inline(always)]
pub fn socket_of_descriptor(descriptor: u64) -> u64 {
    /// `S_IFMT` and `S_IFSOCK` of `include/uapi/linux/stat.h`.
    const FORMAT: u16 = 0o170_000;
    const SOCKET: u16 = 0o140_000;
    let file = file_of_descriptor(current(), descriptor);
    let mode: u16 = read(pointer(file, offset!(file_inode)), offset!(inode_mode));
    if mode & FORMAT == SOCKET {
        pointer(file, offset!(file_private_data))
    } else {
        0
    }
}
