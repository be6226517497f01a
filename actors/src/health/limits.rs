//! What the sensor itself uses, from its own `/proc/self`.

use std::fs;

use crate::root::status::Resources;

/// Reads it; what cannot be read is 0.
pub(crate) fn usage() -> Resources {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Resources {
        rss_bytes: resident(&text("/proc/self/statm"), rustix::param::page_size() as u64),
        cpu_ms: cpu(
            &text("/proc/self/stat"),
            rustix::param::clock_ticks_per_second(),
        ),
        // The one that reads the directory is in it.
        open_files: fs::read_dir("/proc/self/fd")
            .map_or(0, |it| it.count().saturating_sub(1) as u64),
    }
}

/// Field 2 of proc_pid_statm(5), in pages.
fn resident(statm: &str, page: u64) -> u64 {
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0).saturating_mul(page)
}

/// Fields 14 and 15 of proc_pid_stat(5), in ticks: user and system time.
fn cpu(stat: &str, ticks_per_second: u64) -> u64 {
    // The second field may have spaces; those after it begin with the third.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = rest.split_ascii_whitespace().skip(14 - 3).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks.saturating_mul(1000) / ticks_per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_right_ones() {
        assert_eq!(resident("9000 25 7 1 0 3 0", 4096), 25 * 4096);
        assert_eq!(cpu("1 (a b) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20", 100), 420);
        let own = usage();
        assert!(own.rss_bytes > 0 && own.open_files >= 3);
    }
}
