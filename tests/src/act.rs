//! What offenders do: small deeds in a process of their own, told by exit code and one line. Exit 0
//! is done, 1 is refused by the kernel with the error's name on stderr.

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, bail};
use nix::unistd::Uid;
use rustix::io::Errno;

mod call;
mod capability;
mod cost;
mod dns;
mod evade;
mod file;
mod ipc;
mod memory;
mod mount;
mod network;
mod path;
mod process;
mod ring;
mod zoo;

/// What a deed says that the kernel has no call for.
pub const NO_CALL: &str = "ENOSYS";

pub(crate) use evade::REACHED;

/// `fork(2)` of a process that ends at once, and waiting for it.
pub(crate) fn fork_once() -> io::Result<()> {
    call::clone_process(0)
}

/// What became of a deed; `None` when the words name none.
type Done = Option<io::Result<()>>;

/// Does the deed and returns the exit code.
pub fn main(args: &[String]) -> Result<i32> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        // As somebody else, for whom most things are not permitted.
        ["as", user, words @ ..] => {
            nix::unistd::setuid(Uid::from_raw(parsed(user)?))?;
            act(words)
        }
        ["called", name, words @ ..] => {
            evade::call_itself(name)?;
            act(words)
        }
        ["in-user-namespace", words @ ..] => {
            evade::enter_user_namespace()?;
            act(words)
        }
        ["in-thread", words @ ..] => evade::in_thread(|| act(words)),
        words => act(words),
    };
    match done {
        Some(Ok(())) => Ok(0),
        Some(Err(error)) => {
            eprintln!("{}", name(&error));
            Ok(1)
        }
        None => bail!("no such deed: {}", words.join(" ")),
    }
}

fn act(words: &[&str]) -> Done {
    let domains = [
        process::act,
        file::act,
        mount::act,
        network::act,
        dns::act,
        memory::act,
        capability::act,
        ipc::act,
        path::act,
        ring::act,
        evade::act,
        zoo::act,
        cost::act,
    ];
    domains.into_iter().find_map(|act| act(words))
}

/// A word that is to be a `T`.
fn parsed<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse()
        .map_err(|_| io::Error::other(format!("cannot parse {word}")))
}

/// Does something to a process of its own, which is gone afterwards.
fn to_child(deed: impl FnOnce(&Child) -> io::Result<()>) -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["act", "pause"])
        .stdout(Stdio::piped())
        // What it holds open, whoever waits for this program would wait for, too.
        .stderr(Stdio::null())
        .spawn()?;
    // It is on its way to another program until it says something.
    if let Some(said) = &mut child.stdout {
        said.read_exact(&mut [0])?;
    }
    let done = deed(&child);
    child.kill()?;
    child.wait()?;
    done
}

/// The C name of the errors that scenarios ask for.
fn name(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => "EPERM".to_owned(),
        Some(Errno::NOENT) => "ENOENT".to_owned(),
        Some(Errno::ACCESS) => "EACCES".to_owned(),
        Some(Errno::CONNREFUSED) => "ECONNREFUSED".to_owned(),
        Some(Errno::NOEXEC) => "ENOEXEC".to_owned(),
        Some(Errno::INVAL) => "EINVAL".to_owned(),
        Some(Errno::FAULT) => "EFAULT".to_owned(),
        Some(Errno::NOMEM) => "ENOMEM".to_owned(),
        Some(Errno::NODATA) => "ENODATA".to_owned(),
        Some(Errno::NODEV) => "ENODEV".to_owned(),
        Some(Errno::PROTONOSUPPORT) => "EPROTONOSUPPORT".to_owned(),
        Some(Errno::ISDIR) => "EISDIR".to_owned(),
        Some(Errno::EXIST) => "EEXIST".to_owned(),
        Some(Errno::NOTEMPTY) => "ENOTEMPTY".to_owned(),
        Some(Errno::BUSY) => "EBUSY".to_owned(),
        Some(Errno::AGAIN) => "EAGAIN".to_owned(),
        Some(Errno::NXIO) => "ENXIO".to_owned(),
        Some(Errno::OPNOTSUPP) => "EOPNOTSUPP".to_owned(),
        Some(Errno::NOSYS) => NO_CALL.to_owned(),
        _ => error.to_string(),
    }
}
