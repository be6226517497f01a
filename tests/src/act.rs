//! What offenders do: small deeds in a process of their own, told by exit code and one line. Exit 0
//! is done, 1 is refused by the kernel with the error's name on stderr.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;

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
