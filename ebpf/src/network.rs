//! Sockets: connect, bind, listen.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::record::network::Socket;

use crate::attach::{Arguments, Via};
use crate::run::Run;
use crate::syscall::{field, file_of_descriptor};
use crate::task::{pointer, read};
use crate::{decide, hook, offset};

// int security_socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)
hook!(network_connect_lsm network_connect_fmod network_connect_fentry network_connect_kprobe, "socket_connect", "security_socket_connect", connect);
// int security_socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)
hook!(network_bind_lsm network_bind_fmod network_bind_fentry network_bind_kprobe, "socket_bind", "security_socket_bind", bind);
// int security_socket_listen(struct socket *sock, int backlog)
hook!(network_listen_lsm network_listen_fmod network_listen_fentry network_listen_kprobe, "socket_listen", "security_socket_listen", listen);

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The longest prefix of a socket address that is read: `struct sockaddr_in6` up to its address. As
/// words, since bytes would be cleared by a call.
type RawAddress = [u64; 3];

/// An address as it stands in records, in words of the machine: IPv4 as `::ffff:a.b.c.d`.
type Words = [u64; 2];

/// An IPv4 address, as four bytes in network order, behind its prefix `::ffff:0:0/96`.
#[inline(always)]
fn mapped(address: u32) -> Words {
    [0, u64::from(0xffff_u32.to_be()) | u64::from(address) << 32]
}

#[inline(always)]
fn connect(arguments: &impl Arguments, via: Via) -> i32 {
    address(Kind::NetworkConnect, arguments, via)
}

#[inline(always)]
fn bind(arguments: &impl Arguments, via: Via) -> i32 {
    address(Kind::NetworkBind, arguments, via)
}

/// A socket, an address and its length.
#[inline(always)]
fn address(kind: Kind, arguments: &impl Arguments, via: Via) -> i32 {
    // `move_addr_to_kernel` has copied it into a buffer of 128 bytes, so all of it can be read.
    let raw: RawAddress = read(arguments.argument(1), 0);
    let (length, socket) = (arguments.argument(2), arguments.argument(0));
    judge_address(kind, via, &raw, length, socket)
}

/// `sys_enter_connect(fd, uservaddr, addrlen)`
#[tracepoint]
pub fn network_connect_enter(context: TracePointContext) -> u32 {
    address_argument(Kind::NetworkConnect, &context)
}

/// `sys_enter_bind(fd, umyaddr, addrlen)`
#[tracepoint]
pub fn network_bind_enter(context: TracePointContext) -> u32 {
    address_argument(Kind::NetworkBind, &context)
}

/// The address is the caller's argument, which it can change after it was read.
#[inline(always)]
fn address_argument(kind: Kind, context: &TracePointContext) -> u32 {
    let mut raw: RawAddress = [0; 3];
    let length = field(context, 2);
    // An IPv4 address is 16 bytes long, and what is behind it need not be readable.
    let bytes = if length < size_of::<RawAddress>() as u64 {
        16
    } else {
        size_of::<RawAddress>()
    };
    // SAFETY: the helper checks the address and writes at most this array.
    let failed = unsafe {
        let from = field(context, 1) as *const _;
        bpf_probe_read_user(raw.as_mut_ptr().cast(), bytes as u32, from)
    };
    if failed == 0 {
        let socket = socket_of_descriptor(field(context, 0));
        judge_address(kind, Via::tracepoint(context), &raw, length, socket);
    }
    0
}

/// The `struct socket` behind a descriptor of the current task; 0 when there is none.
#[inline(always)]
fn socket_of_descriptor(descriptor: u64) -> u64 {
    let file = file_of_descriptor(crate::task::current(), descriptor);
    pointer(file, offset!(file_private_data))
}

#[inline(always)]
fn judge_address(kind: Kind, via: Via, raw: &RawAddress, length: u64, socket: u64) -> i32 {
    let family = raw[0] as u16;
    let port = u16::from_be((raw[0] >> 16) as u16);
    let words = if family == AF_INET && length >= 16 {
        // The address stands behind the port.
        mapped((raw[0] >> 32) as u32)
    } else if family == AF_INET6 && length >= size_of::<RawAddress>() as u64 {
        // Behind the port stand four bytes of flow information.
        [raw[1], raw[2]]
    } else {
        return 0;
    };
    judge(kind, via, socket, family, words, port)
}

#[inline(always)]
fn listen(arguments: &impl Arguments, via: Via) -> i32 {
    judge_listen(arguments.argument(0), via)
}

/// `sys_enter_listen(fd, backlog)`
#[tracepoint]
pub fn network_listen_enter(context: TracePointContext) -> u32 {
    judge_listen(
        socket_of_descriptor(field(&context, 0)),
        Via::tracepoint(&context),
    );
    0
}

#[inline(always)]
fn judge_listen(socket: u64, via: Via) -> i32 {
    let sock = pointer(socket, offset!(socket_sk));
    let family: u16 = read(sock, offset!(sock_family));
    let words = if family == AF_INET {
        mapped(read(sock, offset!(sock_address)))
    } else if family == AF_INET6 {
        read(sock, offset!(sock_address6))
    } else {
        return 0;
    };
    let port: u16 = read(sock, offset!(sock_port));
    judge(Kind::NetworkListen, via, socket, family, words, port)
}

#[inline(always)]
fn judge(kind: Kind, via: Via, socket: u64, family: u16, words: Words, port: u16) -> i32 {
    // SAFETY: both are 16 bytes without padding.
    let address: [u8; 16] = unsafe { core::mem::transmute(words) };
    let Some(mut run) = Run::begin(kind, via) else {
        return 0;
    };
    decide::by_address(&mut run, address);
    decide::by_port(&mut run, port);
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let sock = pointer(socket, offset!(socket_sk));
            let socket_type: u16 = read(socket, offset!(socket_type));
            let protocol: u16 = if sock == 0 {
                u16::MAX
            } else {
                read(sock, offset!(sock_protocol))
            };
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                record.fixed::<Socket>().write(Socket {
                    address,
                    port,
                    family,
                    protocol,
                    socket_type,
                });
            }
        },
    )
}
