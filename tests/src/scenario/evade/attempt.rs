//! The attempts, as data.

/// A way to do what a rule forbids.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What is done, for who reads the page.
    pub(super) what: &'static str,
    /// What it is to reach.
    pub(super) on: Target,
    /// How, for [`crate::act`]; names in braces stand for what [`super::Scene`] has made.
    pub(super) words: &'static [&'static str],
    /// In which tiers the rule sees it.
    pub(super) seen: Seen,
    /// Whether it may fail to hit the moment: then nothing need come of it.
    pub(super) races: bool,
    /// What a policy asks for where the rule doesn't see it.
    pub(super) instead: &'static str,
}

/// What the rules of [`super::Scene`] forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To open a file: `file.path == …`.
    File,
    /// To open one, but for one program: `file.path == … && process.executable != …`.
    FileOfOne,
    /// To execute a program: `process.executable == …`.
    Program,
    /// To connect to an address: `destination.ip == … && destination.port == …`.
    Address,
}

impl Target {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::File, Self::FileOfOne, Self::Program, Self::Address];

    /// The id of its rule.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::FileOfOne => "file-of-one",
            Self::Program => "program",
            Self::Address => "address",
        }
    }

    /// What it is on.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::File | Self::FileOfOne => "file.open",
            Self::Program => "process.exec",
            Self::Address => "network.connect",
        }
    }

    /// What the rule is, for who reads the page.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::File => "`file.open`, `file.path == '/srv/secret'`",
            Self::FileOfOne => {
                "`file.open`, `file.path == '/srv/secret' && process.executable != '/srv/owner'`"
            }
            Self::Program => "`process.exec`, `process.executable == '/srv/program'`",
            Self::Address => {
                "`network.connect`, `destination.ip == '127.0.0.1' && destination.port == 80`"
            }
        }
    }
}

/// In which tiers a rule sees an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// In each.
    Always,
    /// In all but `tracepoint`, which sees what a system call is given, where there is one.
    NotByArguments,
    /// In none: it is another operation, or on another object.
    Never,
}

const fn seen(
    on: Target,
    seen: Seen,
    what: &'static str,
    words: &'static [&'static str],
) -> Attempt {
    Attempt {
        what,
        on,
        words,
        seen,
        races: false,
        instead: "",
    }
}

const fn always(on: Target, what: &'static str, words: &'static [&'static str]) -> Attempt {
    seen(on, Seen::Always, what, words)
}

const fn not_by_arguments(
    on: Target,
    what: &'static str,
    words: &'static [&'static str],
) -> Attempt {
    seen(on, Seen::NotByArguments, what, words)
}

const fn racing(attempt: Attempt) -> Attempt {
    Attempt {
        races: true,
        ..attempt
    }
}

const fn never(
    on: Target,
    what: &'static str,
    words: &'static [&'static str],
    instead: &'static str,
) -> Attempt {
    Attempt {
        instead,
        ..seen(on, Seen::Never, what, words)
    }
}

use Target::{Address, File, FileOfOne, Program};

/// All of them.
pub(super) const ATTEMPTS: &[Attempt] = &[
    always(File, "by its path", &["read", "{at}/secret"]),
    always(File, "by a symbolic link", &["read", "{at}/link"]),
    always(
        File,
        "below a symbolic link to its directory",
        &["read", "{at}/link-to-here/secret"],
    ),
    always(
        File,
        "with `.`, `..` and more slashes than are needed",
        &["read", "{at}/./directory/..//secret"],
    ),
    always(
        File,
        "through `/proc/self/root`",
        &["read", "/proc/self/root{at}/secret"],
    ),
    always(
        File,
        "through the root of another process",
        &["read", "/proc/{parent}/root{at}/secret"],
    ),
    always(
        File,
        "by a descriptor with `O_PATH`, opened again through `/proc/self/fd`",
        &["read-reopened", "{at}/secret"],
    ),
    not_by_arguments(
        File,
        "by its handle (`open_by_handle_at`)",
        &["read-by-handle", "{at}/secret"],
    ),
    always(
        File,
        "in a chroot that it is in",
        &["read-in-chroot", "{at}", "/secret"],
    ),
    always(
        File,
        "as root of a new user namespace",
        &["in-user-namespace", "read", "{at}/secret"],
    ),
    always(
        File,
        "by another thread than the first",
        &["in-thread", "read", "{at}/secret"],
    ),
    not_by_arguments(
        File,
        "through an io_uring",
        &["by-ring", "caller", "read", "{at}/secret"],
    ),
    not_by_arguments(
        File,
        "through an io_uring, by a worker of the kernel's",
        &["by-ring", "worker", "read", "{at}/secret"],
    ),
    not_by_arguments(
        File,
        "through an io_uring that the kernel polls",
        &["by-ring", "poller", "read", "{at}/secret"],
    ),
    racing(always(
        File,
        "by a path that another thread changes meanwhile",
        &["read-racing", "{at}/public", "{at}/secret"],
    )),
    racing(always(
        File,
        "by a symbolic link that another thread changes meanwhile",
        &[
            "read-racing-link",
            "{at}/changing",
            "{at}/public",
            "{at}/secret",
        ],
    )),
    never(
        File,
        "by a hard link",
        &["read-linked", "{at}/secret", "{at}/hard-link"],
        "`file.link` where `file.path` is the file; `fs.protected_hardlinks` is on by default",
    ),
    never(
        File,
        "after it, or a directory above it, was renamed",
        &["read-renamed", "{at}/secret"],
        "`file.rename` where `file.path` is the file",
    ),
    never(
        File,
        "after its directory was mounted elsewhere, in a mount namespace of one's own",
        &["read-elsewhere", "{at}", "{at}/directory", "secret"],
        "`file.mount`; who may not mount cannot do it",
    ),
    never(
        File,
        "in an overlay over its directory",
        &["read-overlaid", "{at}", "{at}-beside", "secret"],
        "`file.mount`",
    ),
    always(
        FileOfOne,
        "by a program that takes the other's name (`comm`)",
        &["called", "busybox-program", "read", "{at}/owned"],
    ),
    always(
        FileOfOne,
        "by a program that has overwritten its arguments",
        &["rewrite-arguments", "{at}/owned"],
    ),
    always(Program, "by its path", &["execute", "{at}/busybox-program"]),
    always(
        Program,
        "by a symbolic link",
        &["execute", "{at}/link-to-program"],
    ),
    always(
        Program,
        "through `/proc/self/root`",
        &["execute", "/proc/self/root{at}/busybox-program"],
    ),
    always(
        Program,
        "by a descriptor (`execveat`)",
        &["execute-descriptor", "{at}/busybox-program"],
    ),
    always(
        Program,
        "by a script whose interpreter it is",
        &["execute", "{at}/script"],
    ),
    always(
        Program,
        "by another thread than the first",
        &["in-thread", "execute", "{at}/busybox-program"],
    ),
    always(
        Program,
        "as root of a new user namespace",
        &["in-user-namespace", "execute", "{at}/busybox-program"],
    ),
    never(
        Program,
        "as a copy in memory",
        &["execute-copy", "{at}/busybox-program"],
        "`holdfast.executable.memfd`, as the shipped policy `fileless-execution` does; an allow-list (`defaults`) has no such way around it",
    ),
    never(
        Program,
        "by a hard link that was made before, or as a copy",
        &["execute", "{at}/hard-link-to-program"],
        "an allow-list: `defaults`",
    ),
    always(Address, "by connect(2)", &["connect", "{forbidden}"]),
    always(
        Address,
        "as IPv6 has IPv4 addresses (`::ffff:127.0.0.1`)",
        &["connect-mapped", "{forbidden}"],
    ),
    always(
        Address,
        "by multipath TCP",
        &["connect-multipath", "{forbidden}"],
    ),
    always(
        Address,
        "without connect(2), by TCP Fast Open",
        &["connect-fast-open", "{forbidden}"],
    ),
    not_by_arguments(
        Address,
        "through an io_uring",
        &["by-ring", "caller", "connect", "{forbidden}"],
    ),
    not_by_arguments(
        Address,
        "through an io_uring, by a worker of the kernel's",
        &["by-ring", "worker", "connect", "{forbidden}"],
    ),
    racing(not_by_arguments(
        Address,
        "to an address that another thread changes meanwhile",
        &["connect-racing", "{plain}", "{forbidden}"],
    )),
    never(
        Address,
        "as `0.0.0.0`, which Linux takes for the loopback address",
        &["connect", "{unspecified}"],
        "both addresses, or the port alone",
    ),
];
