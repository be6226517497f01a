//! What is done with sockets.

use std::fs;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};
use std::thread::sleep;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, SendAncillaryBuffer, SendFlags, SocketType, bind, connect, ipproto,
    sendmsg_addr, socket,
};

use super::{Done, parsed};

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["listen", address] => {
            parsed::<SocketAddr>(address).and_then(|address| TcpListener::bind(address).map(drop))
        }
        ["connect", address] => {
            parsed::<SocketAddr>(address).and_then(|address| TcpStream::connect(address).map(drop))
        }
        ["connect-from", own, peer] => connect_from(own, peer),
        ["connect-netlink"] => connect_netlink(),
        ["accept", address] => parsed(address).and_then(accept),
        ["send", address] => parsed(address).and_then(send),
        ["send-message", address] => parsed(address).and_then(send_message),
        ["listen-datagram", address] => parsed(address).and_then(listen_datagram),
        ["accept-nobody", address] => parsed(address).and_then(accept_nobody),
        ["listen-unix", name] => listen_unix(name).map(drop),
        ["connect-unix", name, given] => connect_unix(name, given),
        ["connect-datagram", name] => {
            UnixDatagram::unbound().and_then(|socket| socket.connect(name))
        }
        ["accept-unix", name] => accept_unix(name),
        ["send-unix", name] => UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"x", name))
            .map(drop),
        ["raw-socket"] => make(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)),
        ["packet-socket"] => make(AddressFamily::PACKET, SocketType::RAW, None),
        // A stream has no such protocol.
        ["wrong-socket"] => make(AddressFamily::INET, SocketType::STREAM, Some(ipproto::UDP)),
        ["hold", address] => parsed(address).and_then(hold),
        _ => return None,
    })
}

fn make(
    family: AddressFamily,
    socket_type: SocketType,
    protocol: Option<Protocol>,
) -> io::Result<()> {
    socket(family, socket_type, protocol)
        .map(drop)
        .map_err(io::Error::from)
}

fn connect_from(own: &str, peer: &str) -> io::Result<()> {
    let (own, peer): (SocketAddr, SocketAddr) = (parsed(own)?, parsed(peer)?);
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&stream, &own)?;
    connect(&stream, &peer).map_err(io::Error::from)
}

fn connect_netlink() -> io::Result<()> {
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    connect(&netlink, &SocketAddrNetlink::new(0, 0)).map_err(io::Error::from)
}

/// Accepts a connection of its own.
fn accept(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    // Connected as soon as it is queued.
    let _client = TcpStream::connect(listener.local_addr()?)?;
    listener.accept().map(drop)
}

/// Where nobody has come.
fn accept_nobody(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    listener.accept().map(drop)
}

/// Datagrams have nobody to wait for.
fn listen_datagram(address: SocketAddr) -> io::Result<()> {
    Ok(rustix::net::listen(&UdpSocket::bind(address)?, 1)?)
}

fn send(address: SocketAddr) -> io::Result<()> {
    sender(address)?.send_to(b"x", address).map(drop)
}

fn send_message(address: SocketAddr) -> io::Result<()> {
    let socket = sender(address)?;
    let data = [IoSlice::new(b"x")];
    let mut control = SendAncillaryBuffer::default();
    sendmsg_addr(&socket, &address, &data, &mut control, SendFlags::empty())?;
    Ok(())
}

fn sender(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    UdpSocket::bind(any)
}

/// A name, which is abstract if it begins with `@`.
fn unix(name: &str) -> io::Result<UnixAddr> {
    match name.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(name),
    }
}

fn listen_unix(name: &str) -> io::Result<UnixListener> {
    // Left by an earlier deed.
    let _ = fs::remove_file(name);
    UnixListener::bind_addr(&unix(name)?)
}

/// Listens at one name and connects to itself by another that means the same.
fn connect_unix(name: &str, given: &str) -> io::Result<()> {
    let _listener = listen_unix(name)?;
    UnixStream::connect_addr(&unix(given)?).map(drop)
}

fn accept_unix(name: &str) -> io::Result<()> {
    let listener = listen_unix(name)?;
    let _client = UnixStream::connect_addr(&unix(name)?)?;
    listener.accept().map(drop)
}

/// How long a connection is held: longer than sensors without eBPF take to look.
const HELD: Duration = Duration::from_secs(4);

/// Listens, connects to that and accepts it, and holds all three.
fn hold(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let connection = TcpStream::connect(listener.local_addr()?)?;
    let accepted = listener.accept()?;
    sleep(HELD);
    drop((listener, connection, accepted));
    Ok(())
}
