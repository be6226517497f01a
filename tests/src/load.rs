//! Load with exact counts: so many execs, so many opens, as fast as the machine does them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{Mode, OFlags, open};

use crate::bench::make_executable;

/// Processes at once: more than CPUs gains nothing.
const WORKERS: u32 = 2;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Writes a program that does nothing but end with exit code 0. A program of 130 bytes without a
/// libc is what makes 100,000 execs quick enough for a test.
pub fn write_tiny_program(path: &Path) -> Result<()> {
    // exit(0)
    #[cfg(target_arch = "x86_64")]
    let code = [0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05];
    #[cfg(target_arch = "aarch64")]
    let code = [0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4];
    write_program(path, &code)
}

/// Writes a program that waits for a signal. Of all a process may be, it is the least: some 60 KiB of the kernel's memory.
pub fn write_waiting_program(path: &Path) -> Result<()> {
    // pause(), again and again
    #[cfg(target_arch = "x86_64")]
    let code = [0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    // ppoll(NULL, 0, NULL, NULL), since all registers are 0 at first
    #[cfg(target_arch = "aarch64")]
    let code = [
        0x28, 0x09, 0x80, 0xd2, 1, 0, 0, 0xd4, 0xfe, 0xff, 0xff, 0x17,
    ];
    write_program(path, &code)
}

fn write_program(path: &Path, code: &[u8]) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    const MACHINE: u16 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u16 = 183;
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut elf = Vec::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Executable, machine, version; entry, program headers, no sections; flags; sizes and counts.
    elf.extend([2, MACHINE].map(u16::to_le_bytes).as_flattened());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([BASE + HEADERS, 64, 0].map(u64::to_le_bytes).as_flattened());
    elf.extend(0_u32.to_le_bytes());
    elf.extend(
        [64_u16, 56, 1, 0, 0, 0]
            .map(u16::to_le_bytes)
            .as_flattened(),
    );
    // One segment: loaded, readable and executable; offset, addresses, sizes, alignment.
    elf.extend([1_u32, 5].map(u32::to_le_bytes).as_flattened());
    elf.extend(
        [0, BASE, BASE, size, size, 0x1000]
            .map(u64::to_le_bytes)
            .as_flattened(),
    );
    elf.extend(code);
    fs::write(path, elf).with_context(|| format!("write {}", path.display()))?;
    make_executable(path)
}

/// Executes a program so many times; each must end with exit code 0.
pub fn execs(program: &Path, count: u32) -> Result<()> {
    in_parallel(count, |share| (0..share).try_for_each(|_| execute(program)))
}

/// Executes a program once; it must end with exit code 0.
pub fn execute(program: &Path) -> Result<()> {
    // Inherited, so that std takes its shortest way: posix_spawn without a pipe.
    let status = Command::new(program)
        .stdin(Stdio::inherit())
        .status()
        .with_context(|| format!("execute {}", program.display()))?;
    ensure!(
        status.success(),
        "{} ended with {status}",
        program.display()
    );
    Ok(())
}

/// Opens and closes a file so many times.
pub fn opens(path: &Path, count: u32) -> Result<()> {
    in_parallel(count, |share| {
        for _ in 0..share {
            open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("open {}", path.display()))?;
        }
        Ok(())
    })
}

/// How often a paced load looks at the clock: bursts this short fill a hundredth of a ring.
const TICK: Duration = Duration::from_millis(1);

/// What one thread is to do at most: natively it does some 190,000.
const RATE_OF_ONE: u32 = 150_000;

/// Opens and closes a file `count` times at a steady rate a second, by one thread, or by two where that is much; says how
/// long that took, which is longer where the machine does not do as many. What is behind is made up for.
pub fn opens_at(path: &Path, rate: u32, count: u64) -> Result<Duration> {
    let threads = if rate > RATE_OF_ONE { 2 } else { 1 };
    let began = Instant::now();
    thread::scope(|scope| {
        let share = |number| count / threads + u64::from(number < count % threads);
        let rate = u64::from(rate) / threads;
        let opening: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || pace(path, rate, share(number))))
            .collect();
        opening
            .into_iter()
            .try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    Ok(began.elapsed())
}

fn pace(path: &Path, rate: u64, count: u64) -> Result<()> {
    let began = Instant::now();
    let mut done = 0;
    while done < count {
        let due = began.elapsed().as_nanos() * u128::from(rate) / NANOS_PER_SECOND;
        // Bounded by `count`.
        let due = due.min(count.into()) as u64;
        for _ in done..due {
            open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("open {}", path.display()))?;
        }
        done = due;
        if done < count {
            thread::sleep(TICK);
        }
    }
    Ok(())
}

fn in_parallel(count: u32, work: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let shares =
            (0..WORKERS).map(|worker| count / WORKERS + u32::from(worker < count % WORKERS));
        let work = &work;
        let workers: Vec<_> = shares
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tiny_program_runs_and_the_load_is_exact() {
        let program = std::env::temp_dir().join(format!("tiny-{}", std::process::id()));
        write_tiny_program(&program).unwrap();
        execs(&program, 7).unwrap();
        opens(&program, 7).unwrap();
        fs::remove_file(&program).unwrap();
        assert!(execs(&program, 1).is_err() && opens(&program, 1).is_err());
    }
}
