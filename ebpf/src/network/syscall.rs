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
use crate::task::{pointer, read};

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

/// `sys_enter_sendmsg(fd, msg, flags)`, and `sendmmsg(fd, mmsg, vlen, flags)`
#[tracepoint]
pub fn network_sendmsg_enter(context: TracePointContext) -> u32 {
    to_address(&context, Kind::NetworkSend, of_message(&context))
}

/// `sys_enter_sendto(fd, buff, len, flags, addr, addr_len)`, by which TCP Fast Open connects
#[tracepoint]
pub fn network_fast_open_sendto_enter(context: TracePointContext) -> u32 {
    fast_open(&context, 3, of_arguments(&context, 4, 5))
}

/// `sys_enter_sendmsg(fd, msg, flags)`, likewise
#[tracepoint]
pub fn network_fast_open_sendmsg_enter(context: TracePointContext) -> u32 {
    fast_open(&context, 2, of_message(&context))
}

/// `sys_enter_sendmmsg(fd, mmsg, vlen, flags)`, likewise; a socket connects once.
#[tracepoint]
pub fn network_fast_open_sendmmsg_enter(context: TracePointContext) -> u32 {
    fast_open(&context, 3, of_message(&context))
}

/// Descriptor, and where among the arguments the flags are.
#[inline(always)]
fn fast_open(context: &TracePointContext, flags: usize, given: Given) -> u32 {
    if field(context, flags) as u32 & MSG_FASTOPEN != 0 {
        let socket = socket_of_descriptor(field(context, 0));
        judge_fast_open(Via::tracepoint(context), socket, given);
    }
    0
}

/// Descriptor, and where among the arguments address and length are.
#[inline(always)]
fn by_argument(kind: Kind, context: &TracePointContext, at: usize, length: usize) -> u32 {
    to_address(context, kind, of_arguments(context, at, length))
}

/// The address among the arguments.
#[inline(always)]
fn of_arguments(context: &TracePointContext, at: usize, length: usize) -> Given {
    Given {
        memory: Memory::User,
        at: field(context, at),
        length: u64::from(field(context, length) as u32),
    }
}

/// That of the message that is the second argument, or the first of several: a `struct mmsghdr` begins with a
/// `struct user_msghdr`, and that with the address and its length.
#[inline(always)]
fn of_message(context: &TracePointContext) -> Given {
    let [at, length]: [u64; 2] = Memory::User.read(field(context, 1));
    Given {
        memory: Memory::User,
        at,
        length: u64::from(length as u32),
    }
}

#[inline(always)]
fn to_address(context: &TracePointContext, kind: Kind, given: Given) -> u32 {
    if given.at != 0 {
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
    let file = file_of_descriptor(descriptor);
    let mode: u16 = read(pointer(file, offset!(file_inode)), offset!(inode_mode));
    if mode & FORMAT == SOCKET {
        pointer(file, offset!(file_private_data))
    } else {
        0
    }
}
