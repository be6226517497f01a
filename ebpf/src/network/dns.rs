//! Questions that are sent to port 53 and answers that come from it, by UDP and TCP. What they say is
//! read out in user space; here it is known who asks whom.

use aya_ebpf::macros::{fexit, kprobe, tracepoint};
use aya_ebpf::programs::{FExitContext, ProbeContext, TracePointContext};
use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::layout::ABSENT;
use holdfast_wire::record::flags;
use holdfast_wire::record::network::{ANSWER, MESSAGE_BYTES, QUESTION, Socket, ends};

use super::address::{End, Given, Memory, is_internet};
use super::syscall::socket_of_descriptor;
use super::{Facts, bytes};
use crate::attach::{Arguments, Via};
use crate::bound::mask;
use crate::emit::Emitter;
use crate::run::Run;
use crate::syscall::field;
use crate::task::{embedded, pointer, read};
use crate::{decide, hook, offset};

// int security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)
hook!(network_dns_lsm network_dns_fmod network_dns_fentry network_dns_kprobe, "socket_sendmsg", "security_socket_sendmsg", send);

/// Where name servers listen.
const PORT: u16 = 53;
/// A message has at least a header (RFC 1035, 4.1.1).
const HEADER: u64 = 12;

/// A message in two pieces of memory, of which the second may be empty: by TCP its length and the rest.
#[derive(Clone, Copy)]
struct Message {
    memory: Memory,
    pieces: [Piece; 2],
}

/// Where it is, and how long.
#[derive(Clone, Copy)]
struct Piece {
    at: u64,
    length: u64,
}

impl Piece {
    const NONE: Self = Self { at: 0, length: 0 };
}

impl Message {
    /// In the caller's memory.
    #[inline(always)]
    fn of_user(first: Piece, second: Piece) -> Self {
        Self {
            memory: Memory::User,
            pieces: [first, second],
        }
    }

    /// A `struct iovec` array of the caller's, which is itself in `memory`.
    #[inline(always)]
    fn of_vector(memory: Memory, vector: u64, count: u64) -> Self {
        let piece = |index: u64| {
            if index >= count {
                return Piece::NONE;
            }
            let [at, length]: [u64; 2] = memory.read(vector + 16 * index);
            Piece { at, length }
        };
        Self::of_user(piece(0), piece(1))
    }

    /// What a `struct iov_iter` is at the beginning of.
    #[inline(always)]
    fn of_iterator(iterator: u64) -> Self {
        match kind_of(iterator) {
            kind if kind == offset!(iterator_of_buffer) => Self::of_user(
                Piece {
                    at: pointer(iterator, offset!(iterator_buffer)),
                    length: read(iterator, offset!(iterator_count)),
                },
                Piece::NONE,
            ),
            kind if kind == offset!(iterator_of_vector) => {
                let vector = pointer(iterator, offset!(iterator_vector));
                let count = read(iterator, offset!(iterator_segments));
                Self::of_vector(Memory::Kernel, vector, count)
            }
            _ => Self::of_user(Piece::NONE, Piece::NONE),
        }
    }

    /// The `received` bytes that a `struct iov_iter` has just gone over; nothing where they are in more
    /// than one piece.
    #[inline(always)]
    fn behind_iterator(iterator: u64, received: u64) -> Self {
        let offset: u64 = read(iterator, offset!(iterator_offset));
        let nothing = Self::of_user(Piece::NONE, Piece::NONE);
        let of = |at: u64| {
            let piece = Piece {
                at: at.wrapping_sub(received),
                length: received,
            };
            Self::of_user(piece, Piece::NONE)
        };
        match kind_of(iterator) {
            kind if kind == offset!(iterator_of_buffer) => {
                of(pointer(iterator, offset!(iterator_buffer)).wrapping_add(offset))
            }
            kind if kind == offset!(iterator_of_vector) => {
                let vector = pointer(iterator, offset!(iterator_vector));
                // A buffer that is full has been left for the next one.
                let is_left = offset == 0;
                let back = if is_left { 16 } else { 0 };
                let [at, length]: [u64; 2] = Memory::Kernel.read(vector.wrapping_sub(back));
                let gone = if is_left { length } else { offset };
                if gone < received {
                    nothing
                } else {
                    of(at.wrapping_add(gone))
                }
            }
            _ => nothing,
        }
    }

    /// Appends as much of it as there is room for; the number of bytes.
    #[inline(always)]
    fn append(&self, record: &mut Emitter) -> u16 {
        let [first, second] = self.pieces;
        let first = self.append_piece(record, first);
        let second = self.append_piece(record, second);
        (first + second) as u16
    }

    #[inline(always)]
    fn append_piece(&self, record: &mut Emitter, piece: Piece) -> u64 {
        const MOST: u64 = MESSAGE_BYTES as u64 - 1;
        if piece.length == 0 {
            return 0;
        }
        let mut length = piece.length;
        if length > MOST {
            length = MOST;
            record.set_flags(flags::MESSAGE_TRUNCATED);
        }
        let length = mask::<{ MESSAGE_BYTES as i32 - 1 }>(length);
        // SAFETY: the record has room for so many bytes behind any offset.
        let failed = unsafe { self.memory.copy(record.tail(), length as u32, piece.at) };
        if failed != 0 {
            record.set_flags(flags::PART_UNREADABLE);
            return 0;
        }
        record.advance(length);
        length
    }
}

/// `enum iter_type` of a `struct iov_iter`; up to 5.13 a bit beside it says reading or writing.
#[inline(always)]
fn kind_of(iterator: u64) -> u32 {
    if offset!(iterator_type) == ABSENT {
        read::<u32>(iterator, offset!(iterator_type_and_direction)) & !1
    } else {
        u32::from(read::<u8>(iterator, offset!(iterator_type)))
    }
}

#[inline(always)]
fn send(arguments: &impl Arguments, via: Via) -> i32 {
    let message = arguments.argument(1);
    question(
        via,
        arguments.argument(0),
        Given::of_message(message),
        #[inline(always)]
        || Message::of_iterator(embedded(message, offset!(message_iterator))),
    )
}

/// Judges a message if it goes to a name server: to the address that the call gives, if it does.
#[inline(always)]
fn question(via: Via, socket: u64, given: Given, message: impl FnOnce() -> Message) -> i32 {
    let sock = pointer(socket, offset!(socket_sk));
    let family: u16 = if given.at == 0 {
        read(sock, offset!(sock_family))
    } else {
        given.family()
    };
    if !is_internet(family) {
        return 0;
    }
    let peer = if given.at == 0 {
        End::peer(sock, family)
    } else {
        match given.end(family) {
            Some(end) => end,
            None => return 0,
        }
    };
    if peer.port != PORT {
        return 0;
    }
    judge(
        via,
        QUESTION,
        Facts::of(socket, sock, family),
        peer,
        message(),
    )
}

#[inline(always)]
fn judge(via: Via, direction: u16, mut facts: Facts, peer: End, message: Message) -> i32 {
    let [first, second] = message.pieces;
    if first.length.wrapping_add(second.length) < HEADER {
        return 0;
    }
    let Some(mut run) = Run::begin(Kind::NetworkDns, via) else {
        return 0;
    };
    facts.add_own();
    decide::by_address(&mut run, peer.address);
    decide::by_port(&mut run, peer.port);
    decide::by_access(&mut run, u32::from(direction));
    let decided = run.decide();
    run.settle(
        decided,
        #[inline(always)]
        |record, _| {
            let fixed = record.fixed::<Socket>();
            let length = message.append(record);
            // SAFETY: the fixed part of this record's buffer.
            unsafe {
                fixed.write(Socket {
                    own: bytes(facts.own.address),
                    peer: bytes(peer.address),
                    own_port: facts.own.port,
                    peer_port: peer.port,
                    ends: facts.known | ends::PEER,
                    family: facts.family,
                    protocol: facts.protocol(),
                    socket_type: read(facts.socket, offset!(socket_type)),
                    path_length: length,
                    direction,
                });
            }
        },
    )
}

/// `int inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`, when it returns
#[fexit(function = "inet_recvmsg")]
pub fn network_dns_answer(context: FExitContext) -> i32 {
    received(&context)
}

/// `int inet6_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`, when it returns
#[fexit(function = "inet6_recvmsg")]
pub fn network_dns_answer6(context: FExitContext) -> i32 {
    received(&context)
}

#[inline(always)]
fn received(context: &FExitContext) -> i32 {
    /// `MSG_PEEK` and `MSG_ERRQUEUE` of `include/linux/socket.h`: it is received once more, or was sent.
    const NOT_RECEIVED: u32 = 0x2002;
    // The result stands behind the arguments.
    let result = context.argument(4) as i32;
    if result < HEADER as i32 || context.argument(3) as u32 & NOT_RECEIVED != 0 {
        return 0;
    }
    let (socket, message) = (context.argument(0), context.argument(1));
    let sock = pointer(socket, offset!(socket_sk));
    let mut family: u16 = read(sock, offset!(sock_family));
    let mut peer = End::peer(sock, family);
    if peer.port == 0 {
        // Not connected: who sent it is known if the caller wants to know.
        let given = Given::of_message(message);
        family = given.family();
        if given.at == 0 || !is_internet(family) {
            return 0;
        }
        match given.end(family) {
            Some(end) => peer = end,
            None => return 0,
        }
    }
    if peer.port == PORT {
        let iterator = embedded(message, offset!(message_iterator));
        let message = Message::behind_iterator(iterator, result as u64);
        let via = Via::new(Tier::Fentry, context);
        judge(via, ANSWER, Facts::of(socket, sock, family), peer, message);
    }
    0
}

/// `void skb_consume_udp(struct sock *sk, struct sk_buff *skb, int len)`: `udp_recvmsg` is done with it.
#[kprobe(function = "skb_consume_udp")]
pub fn network_dns_answer_kprobe(context: ProbeContext) -> u32 {
    let sock = context.argument(0);
    let family = read(sock, offset!(sock_family));
    let peer = End::peer(sock, family);
    if peer.port == PORT && is_internet(family) {
        let packet = context.argument(1);
        let length: u32 = read(packet, offset!(packet_length));
        let elsewhere: u32 = read(packet, offset!(packet_length_elsewhere));
        let head = Piece {
            at: pointer(packet, offset!(packet_data)),
            length: u64::from(length.saturating_sub(elsewhere)),
        };
        let message = Message {
            memory: Memory::Kernel,
            pieces: [head, Piece::NONE],
        };
        let socket = pointer(sock, offset!(sock_socket));
        let via = Via::new(Tier::Kprobe, &context);
        judge(via, ANSWER, Facts::of(socket, sock, family), peer, message);
    }
    0
}

/// `sys_enter_sendto(fd, buff, len, flags, addr, addr_len)`
#[tracepoint]
pub fn network_dns_sendto_enter(context: TracePointContext) -> u32 {
    let given = Given {
        memory: Memory::User,
        at: field(&context, 4),
        length: u64::from(field(&context, 5) as u32),
    };
    by_call(&context, given, || buffer(&context))
}

/// `sys_enter_write(fd, buf, count)`
#[tracepoint]
pub fn network_dns_write_enter(context: TracePointContext) -> u32 {
    by_call(&context, Given::NONE, || buffer(&context))
}

/// `sys_enter_writev(fd, vec, vlen)`
#[tracepoint]
pub fn network_dns_writev_enter(context: TracePointContext) -> u32 {
    let vector = || Message::of_vector(Memory::User, field(&context, 1), field(&context, 2));
    by_call(&context, Given::NONE, vector)
}

/// `sys_enter_sendmsg(fd, msg, flags)`, and the first message of `sendmmsg(fd, mmsg, vlen, flags)`
#[tracepoint]
pub fn network_dns_sendmsg_enter(context: TracePointContext) -> u32 {
    by_header(&context, field(&context, 1))
}

/// The second message of `sys_enter_sendmmsg(fd, mmsg, vlen, flags)`: resolvers ask for an IPv4 and an
/// IPv6 address at once.
#[tracepoint]
pub fn network_dns_sendmmsg_enter(context: TracePointContext) -> u32 {
    /// `sizeof(struct mmsghdr)`: a `struct user_msghdr` and a length.
    const ENTRY: u64 = 64;
    if field(&context, 2) < 2 {
        return 0;
    }
    by_header(&context, field(&context, 1) + ENTRY)
}

/// A `struct user_msghdr`: address, its length, vector, its length.
#[inline(always)]
fn by_header(context: &TracePointContext, header: u64) -> u32 {
    let [at, length]: [u64; 2] = Memory::User.read(header);
    let given = Given {
        memory: Memory::User,
        at,
        length: u64::from(length as u32),
    };
    by_call(context, given, || {
        let [vector, count]: [u64; 2] = Memory::User.read(header + 16);
        Message::of_vector(Memory::User, vector, count)
    })
}

#[inline(always)]
fn buffer(context: &TracePointContext) -> Message {
    let piece = Piece {
        at: field(context, 1),
        length: field(context, 2),
    };
    Message::of_user(piece, Piece::NONE)
}

#[inline(always)]
fn by_call(context: &TracePointContext, given: Given, message: impl FnOnce() -> Message) -> u32 {
    let socket = socket_of_descriptor(field(context, 0));
    if socket != 0 {
        question(Via::tracepoint(context), socket, given, message);
    }
    0
}
