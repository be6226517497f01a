//! What a process uses: CPU time, memory, wake-ups, memory of kernel maps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// CPU time of a process so far, of its threads that ended too; in nanoseconds, which are instructions where a
/// guest's clock counts them.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()));
    let time = clock.and_then(ClockId::now);
    let time = time.with_context(|| format!("read the CPU time of process {pid}"))?;
    Ok(time.into())
}

/// The most memory that a process had so far, KiB.
pub fn peak_memory(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM")
}

/// What `/proc/PID/status` says of a process's memory, KiB; `line` as in proc_pid_status(5).
pub fn memory(pid: u32, line: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    number_after(Path::new(&path), &format!("{line}:"))?
        .with_context(|| format!("{path} says no {line}"))
}

/// The memory of its kernel maps that a process has mapped, KiB. A ring's pages are mapped twice, one behind the
/// other, so that this is up to twice what the maps themselves take; all of it is in `RssFile`.
pub fn mapped_maps(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let (mut total, mut is_map) = (0, false);
    for line in text.lines() {
        match line.strip_prefix("Rss:") {
            Some(size) if is_map => total += first_number(size).unwrap_or(0),
            Some(_) => {}
            // The first line of a mapping has its addresses, as `start-end`, and no colon behind the first word.
            None if line
                .split(' ')
                .next()
                .is_some_and(|word| word.contains('-')) =>
            {
                is_map = line.ends_with("anon_inode:bpf-map");
            }
            None => {}
        }
    }
    Ok(total)
}

/// How often the threads of a process have gone to sleep so far, each of which a wake-up ended.
pub fn sleeps(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut total = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
        let status = task.with_context(|| format!("list {tasks}"))?.path();
        // A thread that has ended meanwhile is not asked.
        let count = number_after(&status.join("status"), "voluntary_ctxt_switches:");
        total += count.ok().flatten().unwrap_or(0);
    }
    Ok(total)
}

/// Memory of the kernel maps that a process holds, bytes by the map's id, as the kernel accounts for each
/// (`memlock` in `/proc/PID/fdinfo/FD`).
pub fn maps(pid: u32) -> Result<BTreeMap<u64, u64>> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("list {directory}"))? {
        let path = entry.with_context(|| format!("list {directory}"))?.path();
        // A descriptor that was closed meanwhile is none.
        let text = fs::read_to_string(&path).unwrap_or_default();
        maps.extend(number_in(&text, "map_id:").zip(number_in(&text, "memlock:")));
    }
    Ok(maps)
}

fn number_after(path: &Path, word: &str) -> Result<Option<u64>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(number_in(&text, word))
}

/// The number behind the word that a line of the text begins with, as files of `/proc` have them.
pub fn number_in(text: &str, word: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| first_number(line.strip_prefix(word)?))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_all_is_known() {
        let pid = std::process::id();
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(memory(pid, "VmRSS").unwrap() > 0);
        assert!(peak_memory(pid).unwrap() >= memory(pid, "VmRSS").unwrap());
        sleeps(pid).unwrap();
        assert!(maps(pid).unwrap().is_empty());
        assert_eq!(mapped_maps(pid).unwrap(), 0);
        assert!(memory(pid, "VmNothing").is_err());
    }
}
