//! Record and process facts → event. Nothing here decides anything.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::decode::{Body, Record};
use holdfast_wire::event::{self, Event};
use holdfast_wire::record::{Header, flags, process::Exec};

use super::path;
use super::processes::{Process, Program};
use super::users::Users;

/// Who did it, as far as it is known.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The process.
    pub(crate) process: &'a Process,
    /// What it ran then.
    pub(crate) program: &'a Program,
    /// Its parent.
    pub(crate) parent: Option<&'a Process>,
    /// From the parent's parent on.
    pub(crate) ancestors: Vec<&'a Process>,
    /// The process acted upon: a signal's target, a fork's child.
    pub(crate) target: Option<&'a Process>,
}

/// What is the same for many events.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// `host.*`
    pub(crate) host: &'a event::Host,
    /// For `event.id`.
    pub(crate) boot_id: &'a str,
    /// The host's `/proc`.
    pub(crate) proc: &'a Path,
    /// Names of users.
    pub(crate) users: &'a Users,
    /// Wall-clock time minus boot time, nanoseconds.
    pub(crate) wall_offset: u64,
}

/// Builds the event of a record, all but rule and outcome.
pub(crate) fn event<'a>(
    record: &Record<'a>,
    subject: &Subject<'a>,
    place: &Place<'a>,
) -> Event<'a> {
    let header = &record.header;
    let (category, types) = classes(record.kind);
    let mut event = Event {
        timestamp: place.time(header.boottime),
        event: event::EventFields {
            id: place.id(header),
            kind: "event",
            action: record.kind.action(),
            category,
            types,
            outcome: outcome(record.kind),
            sequence: Some(header.sequence),
            ..Default::default()
        },
        host: Some(place.host),
        process: Some(place.subject(record, subject)),
        holdfast: holdfast(header),
        ..Default::default()
    };
    match record.body {
        Body::Exec {
            fixed, filename, ..
        } => exec(&mut event, &fixed, filename),
        Body::Exit(exit) => exited(&mut event, exit.status),
        Body::Fork(fork) => {
            event.holdfast.target = Some(place.target(fork.child_tgid.cast_signed(), subject));
        }
        Body::Signal(signal) => {
            event.holdfast.signal = Some(event::signal_name(signal.signal));
            event.holdfast.target = Some(place.target(signal.target_tgid, subject));
        }
        Body::Ptrace(ptrace) => {
            event.holdfast.flags = vec![match ptrace.mode {
                0 => "PTRACE_TRACEME",
                _ => "PTRACE_MODE_ATTACH",
            }];
            event.holdfast.target = Some(place.target(ptrace.target_tgid, subject));
        }
        Body::File {
            fixed,
            path,
            target,
        } => {
            let cwd = subject.program.image.working_directory.as_deref();
            let resolve = |directory, path| place.path(header, directory, path, cwd);
            let device = fixed.device;
            event.file = Some(event::File {
                path: resolve(fixed.directory, path),
                target_path: match record.kind {
                    // What it says is resolved when it is followed, from where it stands.
                    Kind::FileSymlink => text(target),
                    _ => resolve(fixed.target_directory, target),
                },
                inode: (fixed.inode != 0).then(|| fixed.inode.to_string()),
                device: (device != 0).then(|| format!("{}:{}", device >> 20, device & 0xf_ffff)),
                mode: (fixed.mode != 0).then(|| format!("{:04o}", fixed.mode & 0o7777)),
                uid: (fixed.owner != u32::MAX).then(|| fixed.owner.to_string()),
                gid: (fixed.group != u32::MAX).then(|| fixed.group.to_string()),
            });
            if matches!(record.kind, Kind::FileOpen | Kind::FileCreate) {
                event.holdfast.flags = event::open_flag_names(fixed.open_flags);
            }
            event.holdfast.path_source = argument(header);
        }
        Body::Socket(socket) => {
            let address = Ipv6Addr::from(socket.address);
            // Shown as what it was given as: AF_INET is 2.
            let mapped = (socket.family == 2)
                .then(|| address.to_ipv4_mapped())
                .flatten();
            let end = Some(event::Endpoint {
                ip: mapped.map_or(IpAddr::V6(address), IpAddr::V4),
                port: socket.port,
            });
            match record.kind {
                Kind::NetworkConnect => event.destination = end,
                _ => event.source = end,
            }
            event.network = Some(event::Network {
                transport: event::protocol_name(socket.protocol),
                family: if socket.family == 2 { "ipv4" } else { "ipv6" },
            });
        }
    }
    event
}

fn exec<'a>(event: &mut Event<'a>, fixed: &Exec, filename: &'a [u8]) {
    let known = fixed.inode != 0;
    let executable = event
        .process
        .as_ref()
        .and_then(|process| process.executable.as_deref());
    // `memfd:` is the kernel's name for it (mm/memfd.c); a real file cannot be called so at the root
    // of a file system without links to it.
    let memfd = known
        && fixed.links == 0
        && executable.is_some_and(|path| path.trim_start_matches('/').starts_with("memfd:"));
    event.holdfast.executable = Some(event::Executable {
        argument: text(filename),
        deleted: known && fixed.links == 0 && !memfd,
        memfd,
    });
}

fn exited(event: &mut Event<'_>, status: i32) {
    // wait(2): the low seven bits are the signal, 0 for an exit. -1: not known.
    match (status, status & 0x7f) {
        (-1, _) => {}
        (_, 0) => {
            if let Some(process) = &mut event.process {
                process.exit_code = Some(status >> 8 & 0xff);
            }
        }
        (_, signal) => event.holdfast.signal = Some(event::signal_name(signal.cast_unsigned())),
    }
}

fn holdfast(header: &Header) -> event::Holdfast<'static> {
    let known = |flag: u32| header.flags & flag == 0;
    let namespaces = event::Namespaces {
        mnt: header.mount_namespace,
        pid: header.pid_namespace,
        net: header.network_namespace,
    };
    let any = namespaces.mnt | namespaces.pid | namespaces.net != 0;
    let mut truncated = Vec::new();
    if !known(flags::PATH_TRUNCATED) {
        truncated.push("path");
    }
    if !known(flags::ARGUMENTS_TRUNCATED) {
        truncated.push("process.args");
    }
    event::Holdfast {
        tier: Tier::from_number(header.tier).map(Tier::name),
        exec_id: known(flags::NO_TASK_FIELDS).then_some(header.exec_id),
        login_uid: (header.loginuid != u32::MAX && known(flags::NO_TASK_FIELDS))
            .then_some(header.loginuid),
        cgroup_id: (header.cgroup_id != 0).then_some(header.cgroup_id),
        namespaces: any.then_some(namespaces),
        truncated,
        ..Default::default()
    }
}

impl<'a> Place<'a> {
    /// Boot time → RFC 3339.
    fn time(&self, boottime: u64) -> String {
        event::rfc3339(boottime.wrapping_add(self.wall_offset))
    }

    /// Boot, time, CPU and sequence: the sequence begins anew with every load of the programs.
    fn id(&self, header: &Header) -> String {
        let boot = self.boot_id.get(..8).unwrap_or(self.boot_id);
        format!(
            "{boot}-{:x}-{:x}-{:x}",
            header.boottime, header.cpu, header.sequence
        )
    }

    fn path(
        &self,
        header: &Header,
        directory: i32,
        bytes: &'a [u8],
        working_directory: Option<&str>,
    ) -> Option<Cow<'a, str>> {
        let path = text(bytes)?;
        Some(match argument(header) {
            Some(_) => {
                path::resolve(self.proc, header.tgid, directory, &path, working_directory).into()
            }
            None => path,
        })
    }

    /// `process.*` of the process itself.
    fn subject(&self, record: &Record<'a>, subject: &Subject<'a>) -> event::Process<'a> {
        let header = &record.header;
        let Subject {
            process,
            program,
            parent,
            ancestors,
            ..
        } = subject;
        let mut shown = self.process(process, program);
        shown.pid = header.tgid.cast_signed();
        let comm = header
            .comm
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        if !comm.is_empty() {
            shown.name = Some(String::from_utf8_lossy(comm).into_owned().into());
        }
        let known = header.flags & flags::NO_TASK_FIELDS == 0;
        shown.thread = Some(event::Thread {
            id: header.tid,
            capabilities: known.then(|| event::Capabilities {
                effective: event::capability_names(header.effective_capabilities),
            }),
        });
        // bpf_get_current_uid_gid() gives the real ids in every tier.
        shown.user = Some(self.user(header.uid, known.then_some(header.euid)));
        shown.group = Some(event::Id {
            id: header.gid.to_string(),
        });
        shown.parent = match parent {
            Some(parent) => Some(Box::new(self.process(parent, &parent.program))),
            None if known && header.ppid != 0 => Some(Box::new(event::Process {
                pid: header.ppid.cast_signed(),
                ..Default::default()
            })),
            None => None,
        };
        shown.ancestors = ancestors
            .iter()
            .map(|ancestor| event::Process {
                args: Cow::default(),
                working_directory: None,
                tty: None,
                ..self.process(ancestor, &ancestor.program)
            })
            .collect();
        shown
    }

    /// `holdfast.target`
    fn target(&self, pid: i32, subject: &Subject<'a>) -> Box<event::Process<'a>> {
        Box::new(match subject.target {
            Some(target) => self.process(target, &target.program),
            None => event::Process {
                pid,
                ..Default::default()
            },
        })
    }

    fn process(&self, process: &'a Process, program: &'a Program) -> event::Process<'a> {
        let image = &*program.image;
        let text = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        let last = |path: &'a str| path.rsplit('/').next().map(Cow::Borrowed);
        let credentials = process.credentials;
        event::Process {
            entity_id: Some(Cow::Borrowed(&*program.entity_id)),
            pid: process.key.tgid.cast_signed(),
            executable: text(&image.executable),
            name: text(&image.name).or_else(|| image.executable.as_deref().and_then(last)),
            args: Cow::Borrowed(&image.arguments),
            working_directory: text(&image.working_directory),
            start: (process.key.start != 0).then(|| self.time(process.key.start).into()),
            user: credentials.map(|it| self.user(it.uid, Some(it.euid))),
            group: credentials.map(|it| event::Id {
                id: it.gid.to_string(),
            }),
            tty: process.terminal.as_deref().map(|name| event::Tty {
                name: Cow::Borrowed(name),
            }),
            ..Default::default()
        }
    }

    fn user(&self, uid: u32, euid: Option<u32>) -> event::User<'a> {
        event::User {
            id: uid.to_string(),
            name: self.users.name(uid).map(Cow::Borrowed),
            effective: euid
                .filter(|euid| *euid != uid)
                .map(|id| event::Id { id: id.to_string() }),
        }
    }
}

/// `holdfast.path_source`, where paths are arguments.
pub(crate) fn argument(header: &Header) -> Option<&'static str> {
    (header.flags & flags::PATH_IS_ARGUMENT != 0).then_some("argument")
}

/// Bytes as the kernel has them → text; nothing for nothing.
pub(crate) fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes))
}

/// ECS category and types of a kind, as ECS 8 allows them together.
const fn classes(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::ProcessExec | Kind::ProcessFork => (&["process"], &["start"]),
        Kind::ProcessExit => (&["process"], &["end"]),
        Kind::ProcessSignal => (&["process"], &["change"]),
        Kind::FileOpen => (&["file"], &["access"]),
        Kind::FileCreate => (&["file"], &["creation"]),
        Kind::FileDelete => (&["file"], &["deletion"]),
        Kind::FileLink | Kind::FileSymlink | Kind::FileMkdir => (&["file"], &["creation"]),
        Kind::FileRmdir => (&["file"], &["deletion"]),
        Kind::FileRename | Kind::FileChmod | Kind::FileChown | Kind::FileTruncate => {
            (&["file"], &["change"])
        }
        Kind::ProcessPtrace => (&["process"], &["access"]),
        Kind::NetworkConnect => (&["network"], &["connection", "start"]),
        Kind::NetworkBind => (&["network"], &["info"]),
        Kind::NetworkListen => (&["network"], &["start"]),
    }
}

/// The types of an operation that was refused.
pub(crate) const fn denied(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ProcessExec | Kind::ProcessFork => &["start", "denied"],
        Kind::ProcessExit => &["end", "denied"],
        Kind::ProcessSignal
        | Kind::FileRename
        | Kind::FileChmod
        | Kind::FileChown
        | Kind::FileTruncate => &["change", "denied"],
        Kind::ProcessPtrace | Kind::FileOpen => &["access", "denied"],
        Kind::FileCreate | Kind::FileLink | Kind::FileSymlink | Kind::FileMkdir => {
            &["creation", "denied"]
        }
        Kind::FileDelete | Kind::FileRmdir => &["deletion", "denied"],
        Kind::NetworkConnect => &["connection", "denied"],
        Kind::NetworkBind => &["info", "denied"],
        Kind::NetworkListen => &["start", "denied"],
    }
}

/// The outcome of an operation that was not refused: known where it was seen after it happened, and
/// not where it was seen on its way.
const fn outcome(kind: Kind) -> &'static str {
    match kind {
        Kind::ProcessExec | Kind::ProcessFork | Kind::ProcessExit => "success",
        _ => "unknown",
    }
}
