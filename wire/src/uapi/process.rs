//! Files of `/proc/PID`: `stat`, `status`, `cgroup`, `syscall` (proc_pid_stat(5) and its neighbours).

/// The parts of `stat` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `comm`
    pub name: String,
    /// It exited, and only waits to be reaped.
    pub exited: bool,
    /// Process id of the parent.
    pub ppid: u32,
    /// Controlling terminal, as the kernel encodes it; 0: none.
    pub terminal: u32,
    /// Threads, those that are ending included.
    pub threads: u32,
    /// Start, nanoseconds of `CLOCK_BOOTTIME`, to a clock tick below.
    pub start: u64,
    /// Where the program lies in memory, brought down to one number. A fork has its parent's, and an
    /// exec another, as long as the kernel randomises addresses. 0: not to be read, or there is no
    /// program.
    pub layout: u64,
}

/// Reads `stat`. The name is in parentheses and may have more of them.
#[must_use]
pub fn parse_stat(text: &str, ticks_per_second: u64) -> Option<Stat> {
    let (head, rest) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Field 3, the state, comes first.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |field_number| field(field_number).and_then(|text| text.parse::<u64>().ok());
    let ticks = number(22)?;
    Some(Stat {
        name: name.to_owned(),
        exited: matches!(field(3)?, "Z" | "X"),
        ppid: field(4)?.parse().ok()?,
        // Printed as a signed number.
        terminal: field(7)?.parse::<i32>().ok()?.cast_unsigned(),
        threads: field(20)?.parse().ok()?,
        start: ticks.checked_mul(1_000_000_000 / ticks_per_second.max(1))?,
        layout: layout(&LAYOUT.map(|field| number(field).unwrap_or(0))),
    })
}

/// Start of code, of the stack, of data and of the heap. Not those of arguments and environment,
/// which a process may move (`PR_SET_MM_ARG_START`).
const LAYOUT: [usize; 4] = [26, 28, 45, 47];

/// FNV-1a over the addresses; 0 where there are none: without a program they are 0, and where they
/// may not be read 0 or 1.
fn layout(addresses: &[u64]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    if addresses.iter().all(|address| *address <= 1) {
        return 0;
    }
    let bytes = addresses.iter().flat_map(|address| address.to_le_bytes());
    bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// The parts of `status` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `comm`
    pub name: String,
    /// The process of a thread.
    pub tgid: u32,
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective capabilities as a bit set.
    pub capabilities: u64,
}

/// Reads `status`.
#[must_use]
pub fn parse_status(text: &str) -> Option<Status> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let mut users = line("Uid:")?.split_ascii_whitespace().map(str::parse);
    let mut groups = line("Gid:")?.split_ascii_whitespace().map(str::parse);
    let capabilities = line("CapEff:").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    let mut user = || users.next()?.ok();
    let name = line("Name:")?.trim_start_matches('\t');
    Some(Status {
        // What `proc_task_name` of `fs/proc/array.c` escapes.
        name: name.replace("\\n", "\n").replace("\\\\", "\\"),
        tgid: line("Tgid:")?.trim().parse().ok()?,
        uid: user()?,
        euid: user()?,
        gid: groups.next()?.ok()?,
        capabilities: capabilities.unwrap_or(0),
    })
}

/// `pts0`, `tty1`, `ttyS0` for the kernel's encoding of a terminal's device (proc_pid_stat(5):
/// the minor number is in bits 31 to 20 and 7 to 0). Others stay unnamed.
#[must_use]
pub fn terminal_name(device: u32) -> Option<String> {
    let major = device >> 8 & 0xfff;
    let minor = device & 0xff | device >> 12 & 0xf_ff00;
    // Documentation/admin-guide/devices.txt
    Some(match major {
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts{}", (major - 136) * 256 + minor),
        _ => return None,
    })
}

/// The path in the unified hierarchy (cgroup v2), of `cgroup`; cgroups(7).
#[must_use]
pub fn parse_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// A system call that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number on this architecture, or in the compatible mode of the thread.
    pub number: u32,
    /// Its arguments as they were in the registers.
    pub arguments: [u64; 6],
}

/// Reads `syscall`; `None` where the thread runs, or is in no call.
#[must_use]
pub fn parse_syscall(text: &str) -> Option<Call> {
    let mut fields = text.split_ascii_whitespace();
    let number = fields.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some(Call { number, arguments })
}

/// The inode of a link like `mnt:[4026531841]` or `socket:[12345]`, if it is of this type.
#[must_use]
pub fn parse_inode(link: &[u8], kind: &str) -> Option<u64> {
    let number = link.strip_prefix(kind.as_bytes())?;
    let number = number.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stat_line(name: &str, addresses: [u64; 4]) -> String {
        let mut fields = vec!["0".to_owned(); 50];
        for (field, value) in [(3, "S"), (4, "7"), (7, "34817"), (20, "3"), (22, "123")] {
            fields[field - 3] = value.to_owned();
        }
        for (field, address) in LAYOUT.iter().zip(addresses) {
            fields[field - 3] = address.to_string();
        }
        format!("42 ({name}) {}", fields.join(" "))
    }

    #[test]
    fn a_name_with_parentheses_is_whole() {
        let text = stat_line("a) b (c)", [0; 4]);
        let stat = parse_stat(&text, 100).unwrap();
        let expected = Stat {
            name: "a) b (c)".into(),
            exited: false,
            ppid: 7,
            terminal: 34817,
            threads: 3,
            start: 1_230_000_000,
            layout: 0,
        };
        assert_eq!(stat, expected);
        for cut in 0..text.len() {
            let _ = parse_stat(&text[..cut], 100);
        }
    }

    #[test]
    fn programs_differ_by_where_they_lie() {
        let layout = |addresses| parse_stat(&stat_line("x", addresses), 100).unwrap().layout;
        let one = layout([0x5555, 0x7ffe_1000, 0x5600, 0x5700]);
        assert_eq!(one, layout([0x5555, 0x7ffe_1000, 0x5600, 0x5700]));
        assert_ne!(one, layout([0x5555, 0x7ffe_1010, 0x5600, 0x5700]));
        assert_eq!(layout([1, 0, 0, 0]), 0);
    }

    #[test]
    fn ids_and_capabilities() {
        let status = "Name:\tx y\nTgid:\t42\nUid:\t1000\t0\t0\t0\nGid:\t100\t5\t5\t5\nCapEff:\t000001ffffffffff\n";
        let expected = Status {
            name: "x y".into(),
            tgid: 42,
            uid: 1000,
            euid: 0,
            gid: 100,
            capabilities: 0x1ff_ffff_ffff,
        };
        assert_eq!(parse_status(status), Some(expected));
        assert_eq!(parse_status("Name:\tx\nTgid:\t42\nUid:\t1000\n"), None);
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal_name(34817).as_deref(), Some("pts1"));
        assert_eq!(terminal_name(0x401).as_deref(), Some("tty1"));
        assert_eq!(terminal_name(0), None);
    }

    #[test]
    fn a_call_is_read_with_its_arguments() {
        let text = "257 0xffffff9c 0x7ffd 0x80241 0x1b6 0x0 0x0 0x7ffc 0x7f00\n";
        let arguments = [0xffff_ff9c, 0x7ffd, 0x80241, 0x1b6, 0, 0];
        let number = 257;
        assert_eq!(parse_syscall(text), Some(Call { number, arguments }));
        assert_eq!(parse_syscall("running\n"), None);
        assert_eq!(parse_syscall("-1 0x7ffc 0x7f00\n"), None);
    }

    #[test]
    fn cgroups_and_links() {
        assert_eq!(parse_cgroup("3:cpu:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(parse_cgroup("3:cpu:/a\n"), None);
        assert_eq!(parse_inode(b"mnt:[4026531841]", "mnt"), Some(4_026_531_841));
        assert_eq!(parse_inode(b"mnt:[4026531841]", "pid"), None);
        assert_eq!(parse_inode(b"socket:[12", "socket"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", fields in proptest::collection::vec("[0-9S-]{0,20}", 0..60)) {
            let _ = parse_stat(&text, 100);
            let _ = parse_stat(&format!("1 (x) {}", fields.join(" ")), 100);
            let _ = parse_status(&text);
            let _ = parse_cgroup(&text);
            let _ = parse_syscall(&text);
            let _ = parse_inode(text.as_bytes(), "mnt");
        }
    }
}
