//! Who is between a sensor and its server: lets everything pass, keeps answers, changes them, or hangs.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{EVENT, POLL};

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const TAMPER: u8 = 2;
const HANG: u8 = 3;
/// What stands before the signature of a bundle.
const SIGNATURE: &[u8] = b"\"signature\":\"";
/// Bytes that are passed on at once: an answer with a small bundle.
const PIECE: usize = 64 << 10;

/// See the module.
pub(super) struct Between {
    address: String,
    inner: Arc<Inner>,
}

struct Inner {
    to: Mutex<String>,
    manner: AtomicU8,
    lost: AtomicU64,
}

impl Between {
    /// Leads to the server at `to`.
    pub(super) fn start(to: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen between")?;
        let address = listener.local_addr()?.to_string();
        let inner = Arc::new(Inner {
            to: Mutex::new(to.to_owned()),
            manner: AtomicU8::new(PASS),
            lost: AtomicU64::new(0),
        });
        let shared = inner.clone();
        // It ends with the scenario's process.
        thread::spawn(move || {
            for sensor in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                thread::spawn(move || shared.lead(&sensor));
            }
        });
        Ok(Self { address, inner })
    }

    /// Where the sensor finds it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// From now on it leads to this server.
    pub(super) fn lead_to(&self, to: &str) {
        to.clone_into(&mut self.inner.to.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn pass(&self) {
        self.inner.manner.store(PASS, Ordering::Relaxed);
    }

    /// Requests reach the server, and no answer comes back.
    pub(super) fn swallow(&self) {
        self.inner.manner.store(SWALLOW, Ordering::Relaxed);
    }

    /// Requests are taken, and nothing comes back until another manner is asked for; then the connection closes.
    pub(super) fn hang(&self) {
        self.inner.manner.store(HANG, Ordering::Relaxed);
    }

    /// The signatures of bundles are changed.
    pub(super) fn tamper(&self) {
        self.inner.manner.store(TAMPER, Ordering::Relaxed);
    }

    /// Answers that did not come back.
    pub(super) fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Waits until there is such an answer.
    pub(super) fn swallowed(&self) -> Result<()> {
        let deadline = Instant::now() + EVENT;
        while self.lost() == 0 {
            ensure!(Instant::now() < deadline, "no answer was swallowed");
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Inner {
    fn lead(&self, sensor: &TcpStream) {
        let to = self
            .to
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // A server that is gone is one that closes the connection.
        let Ok(server) = TcpStream::connect(to) else {
            return;
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                copy(sensor, &server, |_| true);
                let _ = server.shutdown(Shutdown::Both);
            });
            copy(&server, sensor, |answer| self.is_passed_on(answer));
            let _ = sensor.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }

    /// Whether a piece of an answer goes on, changed or not.
    fn is_passed_on(&self, answer: &mut [u8]) -> bool {
        match self.manner.load(Ordering::Relaxed) {
            SWALLOW => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                false
            }
            HANG => {
                while self.manner.load(Ordering::Relaxed) == HANG {
                    thread::sleep(POLL);
                }
                false
            }
            TAMPER => {
                let at = answer
                    .windows(SIGNATURE.len())
                    .position(|it| it == SIGNATURE);
                if let Some(byte) = at.and_then(|at| answer.get_mut(at + SIGNATURE.len())) {
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
                true
            }
            _ => true,
        }
    }
}

/// Copies until one end closes, or a piece is not to go on.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mut goes_on: impl FnMut(&mut [u8]) -> bool) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if !goes_on(&mut piece[..length]) || to.write_all(&piece[..length]).is_err() {
            return;
        }
    }
}
