//! What is asked of a name server, which is a thread of the same process.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::{Done, parsed};

/// How long an answer takes, at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// `holdfast.example.org`, of which the answer is 192.0.2.1.
const NAME: &[u8] = b"\x08Holdfast\x07example\x03ORG\0";

/// See [`super::main`].
pub(super) fn act(words: &[&str]) -> Done {
    Some(match words {
        ["ask", server] => parsed(server).and_then(|server| ask(server, true, 0)),
        ["ask-unconnected", server] => parsed(server).and_then(|server| ask(server, false, 0)),
        // The answer has more in it than is read of one.
        ["ask-much", server] => parsed(server).and_then(|server| ask(server, true, 1400)),
        ["ask-stream", server] => parsed(server).and_then(ask_stream),
        ["ask-nobody", server] => parsed(server).and_then(ask_nobody),
        _ => return None,
    })
}

fn question() -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(NAME);
    message.extend([0, 1, 0, 1]);
    message
}

/// The answer, with so many bytes behind it.
fn answer(more: usize) -> Vec<u8> {
    let mut message = question();
    message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    message.resize(message.len() + more, 0);
    message
}

fn ask(server: SocketAddr, is_connected: bool, more: usize) -> io::Result<()> {
    let listening = UdpSocket::bind(server)?;
    let answering = thread::spawn(move || {
        let mut message = [0; 512];
        let (_, client) = listening.recv_from(&mut message)?;
        listening.send_to(&answer(more), client)
    });
    let client = client_of(server)?;
    let mut message = [0; 4096];
    if is_connected {
        client.connect(server)?;
        client.send(&question())?;
        client.recv(&mut message)?;
    } else {
        client.send_to(&question(), server)?;
        client.recv_from(&mut message)?;
    }
    joined(answering)
}

/// By TCP each message stands behind its length; what is read is first that and then the message.
fn ask_stream(server: SocketAddr) -> io::Result<()> {
    let listening = TcpListener::bind(server)?;
    let answering = thread::spawn(move || {
        let (mut stream, _) = listening.accept()?;
        read_message(&mut stream)?;
        write_message(&mut stream, &answer(0))
    });
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write_message(&mut stream, &question())?;
    read_message(&mut stream)?;
    joined(answering)
}

fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<usize> {
    let length = (message.len() as u16).to_be_bytes();
    stream.write_vectored(&[IoSlice::new(&length), IoSlice::new(message)])
}

fn read_message(stream: &mut TcpStream) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)
}

fn ask_nobody(server: SocketAddr) -> io::Result<()> {
    client_of(server)?.send_to(&question(), server).map(drop)
}

fn client_of(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let client = UdpSocket::bind(any)?;
    client.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

fn joined(answering: thread::JoinHandle<io::Result<usize>>) -> io::Result<()> {
    let answered = answering.join();
    answered
        .map_err(|_| io::Error::other("the server panicked"))?
        .map(drop)
}
