//! What is done with sockets.

use std::net::{SocketAddr, TcpListener, TcpStream};

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
        _ => return None,
    })
}
