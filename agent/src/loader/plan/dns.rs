//! Questions to name servers and their answers.

use holdfast_wire::control::Tier;

use super::{Part, Place, Way, calls, part, way};

/// What programs need to read what is sent.
const MESSAGE: &[&str] = &[
    "sock_peer_port",
    "message_name",
    "message_iterator",
    "iterator_vector",
    "iterator_of_vector",
];
const PACKET: &[&str] = &[
    "sock_peer_port",
    "message_name",
    "message_iterator",
    "iterator_vector",
    "iterator_of_vector",
    "packet_data",
    "packet_length",
];

const ANSWER: Part = part("network_dns_answer", Place::Fexit("inet_recvmsg"));
const ANSWER6: Part = part("network_dns_answer6", Place::Fexit("inet6_recvmsg"));
const QUESTION: &str = "security_socket_sendmsg";

const AT_ONCE: &str = "in one sendmmsg, all but the first to one address that it names";
const WITHOUT_ANSWERS: &str =
    "answers; in one sendmmsg, all but the first to one address that it names";

const fn asked(tier: Tier, parts: &'static [Part], blind_to: &'static str) -> Way {
    way(tier, parts).needs(MESSAGE).blind_to(blind_to)
}

/// Answers are read when the call that receives them returns; what refuses questions works without.
pub(super) static DNS: &[Way] = &[
    asked(
        Tier::Lsm,
        &[
            part("network_dns_lsm", Place::Lsm("socket_sendmsg")),
            ANSWER,
            ANSWER6,
        ],
        AT_ONCE,
    ),
    asked(
        Tier::Lsm,
        &[part("network_dns_lsm", Place::Lsm("socket_sendmsg"))],
        WITHOUT_ANSWERS,
    ),
    asked(
        Tier::FmodRet,
        &[
            part("network_dns_fmod", Place::FmodRet(QUESTION)),
            ANSWER,
            ANSWER6,
        ],
        AT_ONCE,
    ),
    asked(
        Tier::FmodRet,
        &[part("network_dns_fmod", Place::FmodRet(QUESTION))],
        WITHOUT_ANSWERS,
    ),
    asked(
        Tier::Fentry,
        &[
            part("network_dns_fentry", Place::Fentry(QUESTION)),
            ANSWER,
            ANSWER6,
        ],
        AT_ONCE,
    ),
    asked(
        Tier::Fentry,
        &[part("network_dns_fentry", Place::Fentry(QUESTION))],
        WITHOUT_ANSWERS,
    ),
    asked(
        Tier::Kprobe,
        &[
            part("network_dns_kprobe", Place::Kprobe(QUESTION)),
            part("network_dns_answer_kprobe", Place::Kprobe("skb_consume_udp")),
        ],
        "answers by TCP or to sockets that are not connected, and of others what a network card has not \
         put into the packet's head; in one sendmmsg, all but the first to one address that it names",
    )
    .needs(PACKET),
    calls(
        &[
            part(
                "network_dns_sendto_enter",
                Place::Syscalls(&["sys_enter_sendto"]),
            ),
            part(
                "network_dns_sendmsg_enter",
                Place::Syscalls(&["sys_enter_sendmsg", "sys_enter_sendmmsg"]),
            ),
            part(
                "network_dns_sendmmsg_enter",
                Place::Syscalls(&["sys_enter_sendmmsg"]),
            ),
            part(
                "network_dns_write_enter",
                Place::Syscalls(&["sys_enter_write"]),
            ),
            part(
                "network_dns_writev_enter",
                Place::Syscalls(&["sys_enter_writev"]),
            ),
        ],
        &["task_files", "fdtable_fd", "socket_sk", "sock_peer_port"],
        "answers; in one sendmmsg, all but the first two; io_uring; what the kernel sends, only the \
         caller's argument",
    ),
];
