//! Record and process facts → event. Nothing here decides anything.

use std::borrow::Cow;
use std::path::Path;

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use holdfast_wire::decode::{Body, Record};
use holdfast_wire::event::{self, Event, Rendered};
use holdfast_wire::record::file::NO_DIRECTORY;
use holdfast_wire::record::{Header, flags};
use holdfast_wire::text;

use super::path;
use super::processes::{Process, Program};
use super::users::Users;
use super::view::Views;
use crate::runtime::table::Shown;

mod capability;
mod class;
mod container;
mod credentials;
mod cut;
mod file;
mod ipc;
mod memory;
mod network;
mod process;

pub(crate) use class::denied;

/// Who did it, as far as it is known.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The process.
    pub(crate) process: &'a Process,
    /// What it ran then.
    pub(crate) program: &'a Program,
    /// Its parent.
    pub(crate) parent: Option<Rendered<event::Process<'static>>>,
    /// From the parent's parent on.
    pub(crate) ancestors: Vec<Rendered<event::Process<'static>>>,
    /// Those of the thread.
    pub(crate) capabilities: Rendered<event::Capabilities>,
    /// The process acted upon: a signal's target, a fork's child.
    pub(crate) target: Option<&'a Process>,
    /// The container it is in.
    pub(crate) container: Option<&'a Shown>,
    /// How others see the paths of the record.
    pub(crate) views: Views<'a>,
}

/// What is the same for many events.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// For `event.id`.
    pub(crate) boot_id: &'a str,
    /// The host's `/proc`.
    pub(crate) proc: &'a Path,
    /// Names of users.
    pub(crate) users: &'a Users,
    /// Wall-clock time minus boot time, nanoseconds.
    pub(crate) wall_offset: u64,
}

/// Of an event, what all those of a container have; of one of the host, nothing.
pub(crate) fn of_container(shown: Option<&Shown>) -> Event<'_> {
    Event {
        container: container::container(shown),
        orchestrator: container::orchestrator(shown),
        ..Default::default()
    }
}

/// Builds the event of a record, all but host, rule and outcome.
pub(crate) fn event<'a>(
    record: &Record<'a>,
    mut subject: Subject<'a>,
    place: &Place<'a>,
) -> Event<'a> {
    let header = &record.header;
    let (category, types) = class::classes(record.kind);
    let mut event = Event {
        timestamp: place.time(header.boottime),
        event: event::EventFields {
            id: place.id(header),
            kind: "event",
            action: record.kind.action(),
            category,
            types,
            outcome: class::outcome(record.kind),
            sequence: Some(header.sequence),
            ..Default::default()
        },
        process: Some(place.subject(record, &mut subject)),
        container: container::container(subject.container),
        orchestrator: container::orchestrator(subject.container),
        holdfast: event::Holdfast {
            path: subject.views.path.take(),
            target_path: subject.views.target.take(),
            truncated: cut::fields(record),
            ..holdfast(header)
        },
        ..Default::default()
    };
    match record.body {
        Body::Exec {
            fixed,
            filename,
            interpreter,
            ..
        } => process::exec(&mut event, &fixed, filename, interpreter, subject.program),
        Body::Exit(exit) => process::exited(&mut event, exit.status),
        Body::Fork(fork) => {
            event.holdfast.flags = event::clone_flag_names(fork.namespaces);
            event.holdfast.target = Some(place.target(fork.child_tgid.cast_signed(), &subject));
        }
        Body::Signal(signal) => {
            event.holdfast.signal = Some(event::signal_name(signal.signal));
            event.holdfast.target = Some(place.target(signal.target_tgid, &subject));
        }
        Body::Ptrace(ptrace) => {
            event.holdfast.flags = vec![process::tracing(&ptrace)];
            event.holdfast.target = Some(place.target(ptrace.target_tgid, &subject));
        }
        Body::File {
            fixed,
            path,
            target,
        } => {
            let cwd = subject.program.image.working_directory.as_deref();
            let resolve = |directory, path| place.path(header, directory, path, cwd);
            let target_path = match record.kind {
                // What it says is resolved when it is followed, from where it stands.
                Kind::FileSymlink | Kind::FileSetxattr => path_text(target),
                _ => resolve(fixed.target_directory, target),
            };
            let path = resolve(fixed.directory, path);
            file::describe(&mut event, record.kind, &fixed, path, target_path);
            event.holdfast.path_source = path_source(header);
        }
        Body::Mount {
            fixed,
            path,
            source,
            file_system,
        } => {
            let cwd = subject.program.image.working_directory.as_deref();
            let source = match fixed.source_directory {
                NO_DIRECTORY => path_text(source),
                directory => place.path(header, directory, source, cwd),
            };
            let path = place.path(header, fixed.directory, path, cwd);
            file::mounted(
                &mut event,
                record.kind,
                &fixed,
                path,
                source,
                path_text(file_system),
            );
            event.holdfast.path_source = path_source(header);
        }
        Body::Socket { fixed, path } => {
            network::describe(&mut event, record.kind, &fixed, path);
        }
        Body::Setid { fixed, groups } => match record.kind {
            Kind::ProcessSetuid => credentials::user(&mut event, &fixed, place.users),
            _ => credentials::group(&mut event, &fixed, groups),
        },
        Body::Namespaces(fixed) => {
            event.holdfast.flags = event::clone_flag_names(fixed.flags);
            event.holdfast.joined_namespace = (fixed.joined != 0).then_some(fixed.joined);
        }
        Body::Mapping { fixed, path } => memory::mapping(&mut event, &fixed, path_text(path)),
        Body::Memfd { fixed, name } => {
            memory::memfd(&mut event, &fixed, path_text(name));
            event.holdfast.path_source = path_source(header);
        }
        Body::ProcessWrite(fixed) => {
            memory::written(&mut event, &fixed);
            event.holdfast.target = Some(place.target(fixed.target_tgid, &subject));
        }
        Body::CapabilityUse(fixed) => capability::used(&mut event, &fixed),
        Body::CapabilitySet(fixed) => capability::set(&mut event, &fixed),
        Body::Rlimit(fixed) => {
            process::limited(&mut event, &fixed);
            event.holdfast.target = Some(place.target(fixed.target_tgid, &subject));
        }
        Body::Setscheduler(fixed) => {
            process::scheduled(&mut event, &fixed);
            event.holdfast.target = Some(place.target(fixed.target_tgid, &subject));
        }
        Body::Load { fixed, path } => capability::load(&mut event, &fixed, path_text(path)),
        Body::Bpf(bpf) => capability::bpf(&mut event, &bpf),
        Body::Shm(fixed) => ipc::shm(&mut event, &fixed),
        Body::Mq { fixed, name } => ipc::mq(&mut event, &fixed, path_text(name)),
        Body::Container { fixed, .. } => {
            container::happened(&mut event, record, &fixed, subject.container);
        }
        Body::Image {
            fixed,
            name,
            tags,
            digests,
        } => container::image(&mut event, &fixed, name, [tags, digests]),
        Body::Perf => {}
    }
    event
}

fn holdfast(header: &Header) -> event::Holdfast<'static> {
    let known = |flag: u32| header.flags & flag == 0;
    let namespaces = event::Namespaces {
        mnt: header.mount_namespace,
        pid: header.pid_namespace,
        net: header.network_namespace,
    };
    let any = namespaces.mnt | namespaces.pid | namespaces.net != 0;
    event::Holdfast {
        tier: Tier::from_number(header.tier).map(Tier::name),
        exec_id: (header.start_boottime != 0 && known(flags::NO_TASK_FIELDS))
            .then_some(header.exec_id),
        login_uid: (header.loginuid != u32::MAX && known(flags::NO_TASK_FIELDS))
            .then_some(header.loginuid),
        cgroup_id: (header.cgroup_id != 0).then_some(header.cgroup_id),
        namespaces: any.then_some(namespaces),
        ..Default::default()
    }
}

/// The first part of an event's id.
pub(crate) fn boot_part(boot_id: &str) -> &str {
    boot_id.get(..8).unwrap_or(boot_id)
}

/// The rest of it.
pub(crate) fn record_part(header: &Header) -> event::EventId {
    let mut part = event::EventId::new();
    push_record_part(&mut part, header);
    part
}

fn push_record_part(id: &mut event::EventId, header: &Header) {
    text::push_hexadecimal(id, header.boottime, 1);
    for number in [header.cpu.into(), header.sequence] {
        id.push('-');
        text::push_hexadecimal(id, number, 1);
    }
}

impl<'a> Place<'a> {
    /// Boot time → RFC 3339.
    fn time(&self, boottime: u64) -> event::Time {
        event::rfc3339(boottime.wrapping_add(self.wall_offset))
    }

    /// Boot, time, CPU and sequence: the sequence begins anew with every load of the programs.
    fn id(&self, header: &Header) -> event::EventId {
        let mut id = event::EventId::new();
        id.push_str(boot_part(self.boot_id));
        id.push('-');
        push_record_part(&mut id, header);
        id
    }

    fn path(
        &self,
        header: &Header,
        directory: i32,
        bytes: &'a [u8],
        working_directory: Option<&str>,
    ) -> Option<Cow<'a, str>> {
        let path = path_text(bytes)?;
        Some(match argument(header) {
            Some(_) => {
                path::resolve(self.proc, header.tgid, directory, &path, working_directory).into()
            }
            None => path,
        })
    }

    /// `process.*` of the process itself.
    fn subject(&self, record: &Record<'a>, subject: &mut Subject<'a>) -> event::Process<'a> {
        let header = &record.header;
        let known = header.flags & flags::NO_TASK_FIELDS == 0;
        let has_ids = header.uid != u32::MAX;
        let comm = header.comm.split(|byte| *byte == 0).next();
        let comm = comm.filter(|comm| !comm.is_empty());
        let shown = self.image(subject.process, subject.program);
        event::Process {
            pid: header.tgid.cast_signed(),
            name: match comm {
                Some(comm) => Some(text::lossy(comm).into_owned().into()),
                None => shown.name,
            },
            thread: Some(event::Thread {
                id: header.tid,
                capabilities: known.then(|| subject.capabilities.clone()),
            }),
            // bpf_get_current_uid_gid() gives the real ids in every tier that has programs.
            user: if has_ids {
                Some(self.user(header.uid, known.then_some(header.euid)))
            } else {
                shown.user
            },
            group: if has_ids {
                Some(event::Id {
                    id: event::number(header.gid.into()),
                })
            } else {
                shown.group
            },
            parent: match subject.parent.take() {
                None if known && header.ppid != 0 => Some(Rendered::new(event::Process {
                    pid: header.ppid.cast_signed(),
                    ..Default::default()
                })),
                parent => parent,
            },
            ancestors: std::mem::take(&mut subject.ancestors),
            ..shown
        }
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

    /// A process as it is known, running this program.
    pub(crate) fn process<'p>(
        &self,
        process: &'p Process,
        program: &'p Program,
    ) -> event::Process<'p>
    where
        'a: 'p,
    {
        let credentials = process.credentials;
        event::Process {
            user: credentials.map(|it| self.user(it.uid, Some(it.euid))),
            group: credentials.map(|it| event::Id {
                id: event::number(it.gid.into()),
            }),
            ..self.image(process, program)
        }
    }

    /// The same without user and group.
    fn image<'p>(&self, process: &'p Process, program: &'p Program) -> event::Process<'p> {
        let image = &*program.image;
        let text = |text: &'p Option<String>| text.as_deref().map(Cow::Borrowed);
        let last = |path: &'p str| path.rsplit('/').next().map(Cow::Borrowed);
        event::Process {
            entity_id: Some(Cow::Borrowed(&*program.entity_id)),
            pid: process.key.tgid.cast_signed(),
            executable: text(&image.executable),
            name: text(&image.name).or_else(|| image.executable.as_deref().and_then(last)),
            args: image.arguments.borrowed(),
            env_vars: image.environment.borrowed(),
            working_directory: text(&image.working_directory),
            start: (process.key.start != 0).then(|| self.time(process.key.start)),
            tty: process.terminal.as_deref().map(|name| event::Tty {
                name: Cow::Borrowed(name),
            }),
            ..Default::default()
        }
    }

    fn user(&self, uid: u32, euid: Option<u32>) -> event::User<'a> {
        event::User {
            id: event::number(uid.into()),
            name: self.users.name(uid).map(Cow::Borrowed),
            effective: euid.filter(|euid| *euid != uid).map(|id| event::Id {
                id: event::number(id.into()),
            }),
        }
    }
}

/// `holdfast.path_source`, where paths are not those that the kernel came by.
fn path_source(header: &Header) -> Option<&'static str> {
    let of_file_system = header.flags & flags::PATH_OF_FILE_SYSTEM != 0;
    argument(header).or(of_file_system.then_some("filesystem"))
}

/// See [`path_source`]: where they are arguments.
pub(crate) fn argument(header: &Header) -> Option<&'static str> {
    (header.flags & flags::PATH_IS_ARGUMENT != 0).then_some("argument")
}

/// A path as the kernel has it → its text; nothing for nothing.
pub(crate) fn path_text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    (!bytes.is_empty()).then(|| text::path(bytes))
}
