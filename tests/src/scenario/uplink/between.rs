//! Who is between a sensor and its server: lets everything pass, at once or slowly, keeps answers, changes them, hangs, or is as if it were
//! not there.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{ANSWERED, POLL};

const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const TAMPER: u8 = 2;
const HANG: u8 = 3;
const SLOW: u8 = 4;
const BLACKHOLE: u8 = 5;
const NONSENSE: u8 = 6;
/// What comes instead of answers: of a proxy, of a portal that wants one to log in, of something that is no server, of one that breaks
/// off, and of one that acknowledges what nobody sent. One after the other.
pub(super) const ANSWERS: [&[u8]; 5] = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<h1>Bad Request</h1>",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Log in</h1>",
    b"\xff\x00\x16\x03\x01 220 ready\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"acknow",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n{\"acknowledged\": 18446744073709551615}",
];
/// Of a slow line, bytes at a time and the time between.
const CRUMB: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
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

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// It goes on.
    On,
    /// It goes on, and nothing behind it.
    Last,
    /// It does not, nor does anything behind it.
    No,
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

    /// Both ways take a second for some KiB.
    pub(super) fn slow(&self) {
        self.inner.manner.store(SLOW, Ordering::Relaxed);
    }

    /// Connections are made, and nothing is read or said until another manner is asked for; then they close.
    pub(super) fn blackhole(&self) {
        self.inner.manner.store(BLACKHOLE, Ordering::Relaxed);
    }

    /// Requests reach the server, and something else comes back than it answers.
    pub(super) fn nonsense(&self) {
        self.inner.manner.store(NONSENSE, Ordering::Relaxed);
    }

    /// The signatures of bundles are changed.
    pub(super) fn tamper(&self) {
        self.inner.manner.store(TAMPER, Ordering::Relaxed);
    }

    /// Answers that did not come back.
    pub(super) fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Waits until so many answers did not come back.
    pub(super) fn swallowed(&self, answers: u64) -> Result<()> {
        let deadline = Instant::now() + ANSWERED;
        while self.lost() < answers {
            ensure!(
                Instant::now() < deadline,
                "{} answers did not come back, of {answers}",
                self.lost()
            );
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
                self.copy(sensor, &server, |_| self.is_let_through());
                let _ = server.shutdown(Shutdown::Both);
            });
            self.copy(&server, sensor, |answer| self.is_passed_on(answer));
            let _ = sensor.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }

    fn manner(&self) -> u8 {
        self.manner.load(Ordering::Relaxed)
    }

    /// Whether a piece of a request goes on.
    fn is_let_through(&self) -> Passage {
        let is_heard = self.manner() != BLACKHOLE;
        while self.manner() == BLACKHOLE {
            thread::sleep(POLL);
        }
        if is_heard { Passage::On } else { Passage::No }
    }

    /// Whether a piece of an answer goes on, changed or not.
    fn is_passed_on(&self, answer: &mut Vec<u8>) -> Passage {
        match self.manner() {
            SWALLOW => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Passage::No
            }
            HANG => {
                while self.manner() == HANG {
                    thread::sleep(POLL);
                }
                Passage::No
            }
            NONSENSE => {
                let number = self.lost.fetch_add(1, Ordering::Relaxed) as usize;
                *answer = ANSWERS[number % ANSWERS.len()].to_vec();
                Passage::Last
            }
            TAMPER => {
                let at = answer
                    .windows(SIGNATURE.len())
                    .position(|it| it == SIGNATURE);
                if let Some(byte) = at.and_then(|at| answer.get_mut(at + SIGNATURE.len())) {
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
                Passage::On
            }
            _ => Passage::On,
        }
    }

    /// Copies until one end closes, or a piece is the last.
    fn copy(
        &self,
        mut from: &TcpStream,
        to: &TcpStream,
        mut passage: impl FnMut(&mut Vec<u8>) -> Passage,
    ) {
        let mut room = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut room) {
            let mut piece = room[..length].to_vec();
            let passage = passage(&mut piece);
            let is_gone = passage == Passage::No || self.write(to, &piece).is_err();
            if is_gone || passage == Passage::Last {
                return;
            }
        }
    }

    fn write(&self, mut to: &TcpStream, piece: &[u8]) -> io::Result<()> {
        if self.manner() != SLOW {
            return to.write_all(piece);
        }
        for crumb in piece.chunks(CRUMB) {
            to.write_all(crumb)?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
