//! What is forbidden, attempted by ways on which a rule might not see it.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::mount::{MountFlags, OpenTreeFlags, mount, mount_bind, open_tree};
use rustix::net::{AddressFamily, SendFlags, SocketType, connect, ipproto, sendto, socket};

use super::mount::alone;
use super::{Done, call, file, parsed};

/// What who connects to changing addresses says when it has reached what is forbidden.
pub(crate) const REACHED: &str = "reached";

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["read-reopened", path] => read_reopened(path),
        ["read-by-handle", path] => call::open_by_handle(Path::new(path)).and_then(file::show),
        ["read-elsewhere", directory, point, name] => read_elsewhere(directory, point, name),
        ["read-overlaid", directory, point, name] => read_overlaid(directory, point, name),
        ["read-detached", directory, name] => read_detached(directory, name),
        ["read-racing", plain, secret] => read_racing(plain, secret),
        ["read-racing-link", link, plain, secret] => read_racing_link(link, plain, secret),
        ["read-renamed", path] => read_renamed(path),
        ["read-linked", path, link] => read_linked(path, link),
        ["rewrite-arguments", path] => rewrite_arguments().and_then(|()| file::read(path)),
        ["execute", path] => execute_path(path),
        ["execute-descriptor", path] => File::open(path).and_then(|file| execute(&file)),
        ["execute-copy", path] => execute_copy(path),
        ["connect-mapped", address] => parsed(address).and_then(connect_mapped),
        ["connect-fast-open", address] => parsed(address).and_then(connect_fast_open),
        ["connect-multipath", address] => parsed(address).and_then(connect_multipath),
        ["connect-racing", plain, forbidden] => parsed(plain).and_then(|plain| {
            parsed(forbidden).and_then(|forbidden| connect_racing(&plain, &forbidden))
        }),
        _ => return None,
    })
}

/// Does a deed as another than the process's first thread.
pub(super) fn in_thread(deed: impl FnOnce() -> Done + Send) -> Done {
    thread::scope(|scope| scope.spawn(deed).join().ok().flatten())
}

/// Becomes root of a user namespace, with its own mounts.
pub(super) fn enter_user_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(io::Error::from)
}

/// Takes another name (`comm`).
pub(super) fn call_itself(name: &str) -> io::Result<()> {
    Ok(rustix::thread::set_name(&CString::new(name)?)?)
}

/// Through the magic link of a descriptor that may do nothing.
fn read_reopened(path: &str) -> io::Result<()> {
    let only_named = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    file::read(&format!("/proc/self/fd/{}", only_named.as_raw_fd()))
}

fn read_elsewhere(directory: &str, point: &str, name: &str) -> io::Result<()> {
    alone(&[point])?;
    mount_bind(directory, point)?;
    file::read(&format!("{point}/{name}"))
}

fn read_overlaid(directory: &str, point: &str, name: &str) -> io::Result<()> {
    alone(&[point])?;
    // Without an upper layer two lower ones are needed.
    let options = CString::new(format!("lowerdir={directory}:{point}"))?;
    mount(
        "overlay",
        point,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    file::read(&format!("{point}/{name}"))
}

/// In a copy of the mount that is in no mount namespace.
fn read_detached(directory: &str, name: &str) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, directory, flags)?;
    let opened = openat(&tree, name, OFlags::RDONLY, Mode::empty())?;
    file::show(opened.into())
}

/// Under another name, which it has no longer than that.
fn read_renamed(path: &str) -> io::Result<()> {
    let other = format!("{path}-other");
    fs::rename(path, &other)?;
    let read = file::read(&other);
    fs::rename(&other, path)?;
    read
}

/// Under a name that it has besides for so long.
fn read_linked(path: &str, link: &str) -> io::Result<()> {
    fs::hard_link(path, link)?;
    let read = file::read(link);
    fs::remove_file(link)?;
    read
}

/// Fills the memory from which others read this process's arguments.
fn rewrite_arguments() -> io::Result<()> {
    let wrong = || io::Error::other("/proc/self/stat is not as proc_pid_stat(5) says");
    let stat = fs::read_to_string("/proc/self/stat")?;
    // `arg_start` and `arg_end`, the 48th and the 49th; the second is in parentheses and may have spaces.
    let (_, behind) = stat.rsplit_once(')').ok_or_else(wrong)?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let number = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse().ok())
            .ok_or_else(wrong)
    };
    let (start, end): (u64, u64) = (number(45)?, number(46)?);
    let filling = vec![b'z'; usize::try_from(end - start).map_err(io::Error::other)?];
    OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")?
        .write_all_at(&filling, start)
}

/// Attempts of who changes what was asked for while the kernel looks at it.
const RACES: usize = 500;

/// Changes something to and fro until the attempts have been made.
fn racing(change: impl Fn(bool) + Sync, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut forbidden = false;
            while !ended.load(Ordering::Relaxed) {
                forbidden = !forbidden;
                change(forbidden);
            }
        });
        let mut refused = None;
        for _ in 0..RACES {
            // What is refused says that the rule has seen it; so long it is tried again. What is half the one and half the
            // other is not there.
            let failed = attempt()
                .err()
                .filter(|error| error.kind() != io::ErrorKind::NotFound);
            refused = failed.or(refused);
        }
        ended.store(true, Ordering::Relaxed);
        refused.map_or(Ok(()), Err)
    })
}

/// Both paths have the same length.
fn read_racing(plain: &str, secret: &str) -> io::Result<()> {
    let path = call::Changing::new(CString::new(plain)?.as_bytes_with_nul());
    racing(
        |forbidden| path.write(if forbidden { secret } else { plain }.as_bytes()),
        || path.open().and_then(file::show),
    )
}

fn read_racing_link(link: &str, plain: &str, secret: &str) -> io::Result<()> {
    let next = format!("{link}-next");
    let place = |target: &str| symlink(target, &next).and_then(|()| fs::rename(&next, link));
    place(plain)?;
    racing(
        |forbidden| {
            // Where it fails the link stays as it was.
            let _ = place(if forbidden { secret } else { plain });
        },
        || file::read(link),
    )
}

const ARGUMENTS: [&CStr; 3] = [c"busybox", c"echo", c"I ran"];

fn execute_path(path: &str) -> io::Result<()> {
    match nix::unistd::execv(&CString::new(path)?, &ARGUMENTS) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

fn execute(program: &File) -> io::Result<()> {
    let environment: [&CStr; 0] = [];
    match nix::unistd::fexecve(program, &ARGUMENTS, &environment) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

/// A copy that has no name in any directory.
fn execute_copy(path: &str) -> io::Result<()> {
    let mut copy = File::from(memfd_create("copy", MemfdFlags::CLOEXEC)?);
    copy.write_all(&fs::read(path)?)?;
    execute(&copy)
}

/// To an IPv4 address as IPv6 has it.
fn connect_mapped(address: SocketAddrV4) -> io::Result<()> {
    let mapped = SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0);
    let stream = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
    Ok(connect(&stream, &mapped)?)
}

/// `MSG_FASTOPEN`: without connect(2), by the first thing that is sent (RFC 7413).
fn connect_fast_open(address: SocketAddrV4) -> io::Result<()> {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
    sendto(&stream, b"x", flags, &address)?;
    Ok(())
}

/// Multipath TCP (RFC 8684) connects by a socket of the kernel's own.
fn connect_multipath(address: SocketAddrV4) -> io::Result<()> {
    let stream = socket(
        AddressFamily::INET,
        SocketType::STREAM,
        Some(ipproto::MPTCP),
    )?;
    Ok(connect(&stream, &address)?)
}

/// By sockets for datagrams, which are connected at once; says so when one is to what is forbidden.
fn connect_racing(plain: &SocketAddrV4, forbidden: &SocketAddrV4) -> io::Result<()> {
    let names = (socket_name(plain), socket_name(forbidden));
    let given = call::Changing::new(&names.0);
    racing(
        |is_forbidden| given.write(if is_forbidden { &names.1 } else { &names.0 }),
        || {
            let datagrams = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            given.connect(&datagrams)?;
            if UdpSocket::from(datagrams).peer_addr()? == (*forbidden).into() {
                println!("{REACHED}");
            }
            Ok(())
        },
    )
}

/// `struct sockaddr_in` of ip(7): the family, then port and address in network order.
fn socket_name(address: &SocketAddrV4) -> [u8; 16] {
    let mut name = [0; 16];
    name[..2].copy_from_slice(&(libc::AF_INET as libc::sa_family_t).to_ne_bytes());
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    name[4..8].copy_from_slice(&address.ip().octets());
    name
}
