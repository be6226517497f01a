//! What the kernel writes by itself: any bytes are messages, lines and files of `/proc`, or are refused, and
//! each reader comes to an end.
#![no_main]

use holdfast_wire::uapi::{connector, fanotify, inet_diag, mounts, netlink, process};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Some(event) = fanotify::next(&mut rest) {
        assert!(event.is_err() || rest.len() + fanotify::EVENT_BYTES <= bytes.len());
    }
    let mut rest = bytes;
    while let Some(message) = netlink::next(&mut rest) {
        if let Ok(message) = message {
            let _ = (message.error(), connector::parse(&message));
            let _ = inet_diag::parse(message.payload);
        }
    }
    let _ = inet_diag::parse(bytes);
    for mount in mounts::parse(bytes) {
        assert!(mount.point.is_absolute());
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = (
        process::parse_stat(&text, 100),
        process::parse_status(&text),
    );
    let _ = (process::parse_cgroup(&text), process::parse_syscall(&text));
    let _ = process::parse_inode(bytes, "socket");
});
