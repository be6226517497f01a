//! Sockets: made, connected, bound, listening, accepted, and what is sent without a connection.

use holdfast_policy::table::Dimension;
use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::record::network::{Socket, ends};

use crate::attach::{Arguments, Via};
use crate::path::Path;
use crate::run::Run;
use crate::scratch::Use;
use crate::task::{own, pointer, read};
use crate::{decide, hook, offset};

mod address;
pub mod dns;
pub mod syscall;

use address::{AF_NETLINK, AF_UNIX, AF_UNSPEC, End, Given, Memory, Name, is_internet};

// int security_socket_create(int family, int type, int protocol, int kern)
hook!(network_socket_lsm network_socket_fmod network_socket_fentry network_socket_kprobe, "socket_create", "security_socket_create", create);
// int security_socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)
hook!(network_connect_lsm network_connect_fmod network_connect_fentry network_connect_kprobe, "socket_connect", "security_socket_connect", connect);
// int security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)
hook!(network_fast_open_lsm network_fast_open_fmod network_fast_open_fentry network_fast_open_kprobe, "socket_sendmsg", "security_socket_sendmsg", fast_open);
// int security_unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)
hook!(network_connect_unix_lsm network_connect_unix_fmod network_connect_unix_fentry network_connect_unix_kprobe, "unix_stream_connect", "security_unix_stream_connect", connect_unix);
// int security_socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)
hook!(network_bind_lsm network_bind_fmod network_bind_fentry network_bind_kprobe, "socket_bind", "security_socket_bind", bind);
// int security_socket_listen(struct socket *sock, int backlog)
hook!(network_listen_lsm network_listen_fmod network_listen_fentry network_listen_kprobe, "socket_listen", "security_socket_listen", listen);
// void security_sock_graft(struct sock *sk, struct socket *parent)
hook!(@watch network_accept_fentry network_accept_kprobe, "security_sock_graft", accept);
// int security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)
hook!(network_send_lsm network_send_fmod network_send_fentry network_send_kprobe, "socket_sendmsg", "security_socket_sendmsg", send);

/// What is known of an operation on a socket.
struct Facts {
    /// Address family.
    family: u16,
    /// The `struct socket`; 0 when not known.
    socket: u64,
    /// The `struct sock`; 0 when not known.
    sock: u64,
    own: End,
    peer: End,
    /// Which of them are known: see `record::network::ends`.
    known: u16,
    /// Of a Unix socket.
    name: Name,
}

impl Facts {
    /// Of a socket of which nothing but its family is told.
    #[inline(always)]
    fn of(socket: u64, sock: u64, family: u16) -> Self {
        Self {
            family,
            socket,
            sock,
            own: End::NONE,
            peer: End::NONE,
            known: 0,
            name: Name::NONE,
        }
    }

    /// `IPPROTO_*`; `u16::MAX` where it is not known.
    #[inline(always)]
    fn protocol(&self) -> u16 {
        if self.sock == 0 {
            u16::MAX
        } else {
            read(self.sock, offset!(sock_protocol))
        }
    }

    /// Adds the name of a Unix socket; the addresses of other families are not reported.
    #[inline(always)]
    fn add_name(&mut self) {
        if self.family == AF_UNIX {
            self.name = Name::of(self.sock);
        }
    }

    /// Adds the socket's own end, if it is bound.
    #[inline(always)]
    fn add_own(&mut self) {
        self.own = End::own(self.sock, self.family);
        if self.own.port != 0 {
            self.known |= ends::OWN;
        }
    }
}

#[inline(always)]
fn create(arguments: &impl Arguments, via: Via) -> i32 {
    // Those that the kernel makes for itself.
    if arguments.argument(3) as u32 != 0 {
        return 0;
    }
    judge_create(
        via,
        arguments.argument(0) as u16,
        arguments.argument(1) as u16,
        arguments.argument(2) as u16,
    )
}

#[inline(always)]
fn judge_create(via: Via, family: u16, socket_type: u16, protocol: u16) -> i32 {
    let Some(mut run) = Run::begin(Kind::NetworkSocket, via) else {
        return 0;
    };
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                record.fixed::<Socket>().write(Socket {
                    family,
                    protocol,
                    socket_type,
                    ..Socket::UNKNOWN
                });
            }
        },
    )
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
    let given = Given {
        memory: Memory::Kernel,
        at: arguments.argument(1),
        length: u64::from(arguments.argument(2) as u32),
    };
    judge_address(kind, via, arguments.argument(0), given)
}

#[inline(always)]
fn judge_address(kind: Kind, via: Via, socket: u64, given: Given) -> i32 {
    let sock = pointer(socket, offset!(socket_sk));
    let mut family = given.family();
    if family == AF_UNSPEC && matches!(kind, Kind::NetworkSend) {
        // `udp_sendmsg` takes it for its own family.
        family = read(sock, offset!(sock_family));
    }
    let mut facts = Facts::of(socket, sock, family);
    if is_internet(family) {
        let Some(end) = given.end(family) else {
            return 0;
        };
        if matches!(kind, Kind::NetworkBind) {
            (facts.own, facts.known) = (end, ends::OWN);
        } else {
            facts.add_own();
            facts.peer = end;
            facts.known |= ends::PEER;
        }
    } else if family == AF_UNIX {
        // Seen at `security_unix_stream_connect`, where it is known which socket the name stands for.
        let seen_later = matches!(kind, Kind::NetworkConnect)
            && !matches!(via.tier, Tier::Tracepoint)
            && is_connecting(read(socket, offset!(socket_type)));
        if seen_later {
            return 0;
        }
        facts.name = Name::given(given);
    } else if is_noise(kind, family) {
        return 0;
    }
    judge(kind, via, &facts)
}

/// TCP Fast Open (RFC 7413): `tcp_sendmsg_fastopen` connects to where a message is sent, and asks none of the
/// functions that connect(2) does.
#[inline(always)]
fn fast_open(arguments: &impl Arguments, via: Via) -> i32 {
    let flags: u32 = arguments.field(1, offset!(message_flags));
    if flags & MSG_FASTOPEN == 0 {
        return 0;
    }
    let given = Given::of_message(arguments.argument(1));
    judge_fast_open(via, arguments.argument(0), given)
}

/// `MSG_FASTOPEN` of `include/linux/socket.h`.
const MSG_FASTOPEN: u32 = 0x2000_0000;
/// `SOCK_STREAM` of `include/linux/net.h`.
const SOCK_STREAM: u16 = 1;

#[inline(always)]
fn judge_fast_open(via: Via, socket: u64, given: Given) -> i32 {
    // Sockets for datagrams take no notice of the flag. Where offsets are not known, neither is the type.
    let socket_type: u16 = read(socket, offset!(socket_type));
    if given.at == 0 || socket_type > SOCK_STREAM {
        return 0;
    }
    judge_address(Kind::NetworkConnect, via, socket, given)
}

/// Whether a Unix socket of this type connects to one socket (`SOCK_STREAM`, `SOCK_SEQPACKET`).
#[inline(always)]
fn is_connecting(socket_type: u16) -> bool {
    socket_type == SOCK_STREAM || socket_type == 5
}

/// What is not reported of families that are neither internet nor Unix: a disconnect, the netlink
/// socket that resolving any name binds (glibc), the requests that are sent to the kernel by netlink
/// and the frames of packet sockets.
#[inline(always)]
fn is_noise(kind: Kind, family: u16) -> bool {
    family == AF_UNSPEC
        || matches!(kind, Kind::NetworkSend)
        || matches!(kind, Kind::NetworkBind) && family == AF_NETLINK
}

#[inline(always)]
fn connect_unix(arguments: &impl Arguments, via: Via) -> i32 {
    let sock = arguments.argument(0);
    let socket = pointer(sock, offset!(sock_socket));
    let facts = Facts {
        name: Name::of(arguments.argument(1)),
        ..Facts::of(socket, sock, AF_UNIX)
    };
    judge(Kind::NetworkConnect, via, &facts)
}

#[inline(always)]
fn listen(arguments: &impl Arguments, via: Via) -> i32 {
    judge_listen(arguments.argument(0), via)
}

#[inline(always)]
fn judge_listen(socket: u64, via: Via) -> i32 {
    let sock = pointer(socket, offset!(socket_sk));
    let mut facts = Facts::of(socket, sock, read(sock, offset!(sock_family)));
    if is_internet(facts.family) {
        // One that is not bound yet is bound to any address and port, which it does not have yet.
        facts.add_own();
        facts.known = ends::OWN;
    } else {
        facts.add_name();
    }
    judge(Kind::NetworkListen, via, &facts)
}

/// A new socket for a connection is given to the one that `accept(2)` returns.
#[inline(always)]
fn accept(arguments: &impl Arguments, via: Via) -> i32 {
    // The kernel's own servers, as that of NFS, run in threads that have no memory of a process.
    if own::<u64>(offset!(task_mm)) == 0 {
        return 0;
    }
    judge_accept(arguments.argument(1), arguments.argument(0), via)
}

#[inline(always)]
fn judge_accept(socket: u64, sock: u64, via: Via) -> i32 {
    let mut facts = Facts::of(socket, sock, read(sock, offset!(sock_family)));
    if is_internet(facts.family) {
        facts.own = End::own(sock, facts.family);
        facts.peer = End::peer(sock, facts.family);
        facts.known = ends::OWN | ends::PEER;
    } else {
        facts.add_name();
    }
    judge(Kind::NetworkAccept, via, &facts)
}

/// Only what names its destination.
#[inline(always)]
fn send(arguments: &impl Arguments, via: Via) -> i32 {
    let given = Given::of_message(arguments.argument(1));
    if given.at == 0 {
        return 0;
    }
    judge_address(Kind::NetworkSend, via, arguments.argument(0), given)
}

#[inline(always)]
fn judge(kind: Kind, via: Via, facts: &Facts) -> i32 {
    let Some(mut run) = Run::begin(kind, via) else {
        return 0;
    };
    // Who connects, and to which of the own ports, is what rules on accepting ask about.
    let (address, port) = match kind {
        Kind::NetworkBind | Kind::NetworkListen => (facts.own.address, facts.own.port),
        Kind::NetworkAccept => (facts.peer.address, facts.own.port),
        _ => (facts.peer.address, facts.peer.port),
    };
    if facts.known == 0 {
        run.absent(Dimension::Address);
        run.absent(Dimension::Port);
    } else {
        decide::by_address(&mut run, address);
        decide::by_port(&mut run, port);
    }
    let place = run.claimed.path(Use::Path);
    let path = if facts.name.dentry == 0 {
        Path::none(place)
    } else {
        Path::walk(place, facts.name.vfsmount, facts.name.dentry)
    };
    if facts.family == AF_UNIX {
        run.narrow_by_path(Dimension::Path, &path);
    } else {
        run.absent(Dimension::Path);
    }
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Socket>();
            let path_length = if facts.name.dentry == 0 {
                facts.name.append(record)
            } else {
                record.path(&path)
            };
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Socket {
                    own: bytes(facts.own.address),
                    peer: bytes(facts.peer.address),
                    own_port: facts.own.port,
                    peer_port: facts.peer.port,
                    family: facts.family,
                    protocol: facts.protocol(),
                    socket_type: read(facts.socket, offset!(socket_type)),
                    ends: facts.known,
                    path_length,
                    direction: 0,
                });
            }
        },
    )
}

#[inline(always)]
fn bytes(address: address::Words) -> [u8; 16] {
    // SAFETY: both are 16 bytes without padding.
    unsafe { core::mem::transmute(address) }
}
