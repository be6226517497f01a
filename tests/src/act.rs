//! What offenders do: small deeds in a process of their own, told by exit code and one line. Exit 0
//! is done, 1 is refused by the kernel with the error's name on stderr.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

/// Does the deed and returns the exit code.
pub fn main(args: &[String]) -> Result<i32> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["read", path] => read(path),
        ["write", path] => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(drop),
        ["delete", path] => fs::remove_file(path),
        ["rename", from, to] => fs::rename(from, to),
        ["link", from, to] => fs::hard_link(from, to),
        ["symlink", content, path] => std::os::unix::fs::symlink(content, path),
        ["mkdir", path] => fs::create_dir(path),
        ["rmdir", path] => fs::remove_dir(path),
        ["chmod", mode, path] => {
            let mode = u32::from_str_radix(mode, 8).with_context(|| format!("parse {mode}"))?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        ["chown", owner, path] => {
            let owner = owner.parse().with_context(|| format!("parse {owner}"))?;
            std::os::unix::fs::chown(path, Some(owner), None)
        }
        ["truncate", path] => nix::unistd::truncate(*path, 1).map_err(io::Error::from),
        ["ftruncate", path] => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(1)),
        ["signal-self"] => kill_process(getpid(), Signal::URG).map_err(io::Error::from),
        ["traceme"] => nix::sys::ptrace::traceme().map_err(io::Error::from),
        ["trace-child"] => trace_child(),
        ["pause"] => {
            std::thread::sleep(std::time::Duration::from_secs(60));
            Ok(())
        }
        ["listen", address] => {
            let address: SocketAddr = address
                .parse()
                .with_context(|| format!("parse {address}"))?;
            TcpListener::bind(address).map(drop)
        }
        ["connect", address] => {
            let address: SocketAddr = address
                .parse()
                .with_context(|| format!("parse {address}"))?;
            TcpStream::connect(address).map(drop)
        }
        _ => bail!("no such deed: {}", words.join(" ")),
    };
    match done {
        Ok(()) => Ok(0),
        Err(error) => {
            eprintln!("{}", name(&error));
            Ok(1)
        }
    }
}

/// Traces a process of its own.
fn trace_child() -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["act", "pause"])
        .spawn()?;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let traced = nix::sys::ptrace::attach(pid).map_err(io::Error::from);
    child.kill()?;
    child.wait()?;
    traced
}

/// Opens, reads, and prints what it read in separate steps: a process killed for the open prints nothing.
fn read(path: &str) -> io::Result<()> {
    let mut content = String::new();
    File::open(path)?.read_to_string(&mut content)?;
    io::stdout().write_all(content.as_bytes())
}

/// The C name of the errors that scenarios ask for.
fn name(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => "EPERM".to_owned(),
        Some(Errno::NOENT) => "ENOENT".to_owned(),
        Some(Errno::ACCESS) => "EACCES".to_owned(),
        Some(Errno::CONNREFUSED) => "ECONNREFUSED".to_owned(),
        _ => error.to_string(),
    }
}
