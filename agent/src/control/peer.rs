//! Who may use the control socket.

use tokio::net::UnixStream;

/// Whether the process at the other end is root's or the sensor's own user's. The socket's mode says
/// the same; this holds even if somebody changes it.
pub(crate) fn is_permitted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
