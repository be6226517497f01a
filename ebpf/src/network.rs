//! Sockets: connect.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::record::network::Connect;

use crate::attach::Arguments;
use crate::file::{file_of_descriptor, syscall_field};
use crate::run::Run;
use crate::task::{pointer, read};
use crate::{decide, hook, offset};

// int security_socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)
hook!(network_connect_lsm network_connect_fmod network_connect_fentry network_connect_kprobe, "socket_connect", "security_socket_connect", connect);

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The longest prefix of a socket address that is read: `struct sockaddr_in6` up to its address. As
/// words, since bytes would be cleared by a call.
type RawAddress = [u64; 3];

#[inline(always)]
fn connect(arguments: &impl Arguments, tier: Tier) -> i32 {
    // `move_addr_to_kernel` has copied it into a buffer of 128 bytes, so all of it can be read.
    let raw: RawAddress = read(arguments.argument(1), 0);
    judge(&raw, arguments.argument(2), arguments.argument(0), tier)
}

/// `sys_enter_connect(fd, uservaddr, addrlen)`: the address is the caller's argument, which it can
/// change after it was read.
#[tracepoint]
pub fn network_connect_enter(context: TracePointContext) -> u32 {
    let mut raw: RawAddress = [0; 3];
    let length = syscall_field(&context, 2);
    // An IPv4 address is 16 bytes long, and what is behind it need not be readable.
    let bytes = if length < size_of::<RawAddress>() as u64 {
        16
    } else {
        size_of::<RawAddress>()
    };
    // SAFETY: the helper checks the address and writes at most this array.
    let failed = unsafe {
        let from = syscall_field(&context, 1) as *const _;
        bpf_probe_read_user(raw.as_mut_ptr().cast(), bytes as u32, from)
    };
    if failed == 0 {
        let file = file_of_descriptor(crate::task::current(), syscall_field(&context, 0));
        let socket = pointer(file, offset!(file_private_data));
        judge(&raw, length, socket, Tier::Tracepoint);
    }
    0
}

#[inline(always)]
fn judge(raw: &RawAddress, length: u64, socket: u64, tier: Tier) -> i32 {
    let family = raw[0] as u16;
    let port = u16::from_be((raw[0] >> 16) as u16);
    let words = if family == AF_INET && length >= 16 {
        // `::ffff:0:0/96`, then the address, which stands behind the port.
        [0, u64::from(0xffff_u32.to_be()) | raw[0] >> 32 << 32]
    } else if family == AF_INET6 && length >= size_of::<RawAddress>() as u64 {
        // Behind the port stand four bytes of flow information.
        [raw[1], raw[2]]
    } else {
        return 0;
    };
    // SAFETY: both are 16 bytes without padding.
    let address: [u8; 16] = unsafe { core::mem::transmute(words) };
    let Some(mut run) = Run::begin(Kind::NetworkConnect, tier) else {
        return 0;
    };
    decide::by_address(&mut run, address);
    decide::by_port(&mut run, port);
    let decided = run.decide();
    if !run.is_wanted(decided) {
        run.filter();
        return 0;
    }
    run.finish(
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
                record.fixed::<Connect>().write(Connect {
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
