//! Reads fields from an [`Event`], without allocating.

use holdfast_wire::event::{Event, Identity, Process, Redactable, Rendered};

use crate::expression::time;

use super::{Field, Fields, Map, Part, Plain, ProcessList, Strings, Subject, Value};

/// As rules judge it: with its secrets.
impl Fields for Event<'_> {
    fn get(&self, field: Field) -> Value<'_> {
        get(self, field, Side::Known)
    }
}

/// An event as people see it: without its secrets. What is made of an event's fields to leave the
/// sensor is made of this.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'e>(pub &'e Event<'e>);

impl Fields for Shown<'_> {
    fn get(&self, field: Field) -> Value<'_> {
        get(self.0, field, Side::Shown)
    }
}

/// Which side of a redactable list is looked at.
#[derive(Clone, Copy)]
enum Side {
    Known,
    Shown,
}

impl Side {
    fn of<'a>(self, list: &'a Redactable<'_>) -> Value<'a> {
        Value::Strings(Strings::Owned(match self {
            Self::Known => list.known(),
            Self::Shown => list.shown(),
        }))
    }
}

fn get<'a>(event: &'a Event<'_>, field: Field, side: Side) -> Value<'a> {
    match field {
        Field::Plain(plain) => plain_field(event, plain),
        Field::Process(subject, part) => {
            let actor = event.process.as_ref();
            let process = match subject {
                Subject::Actor => actor,
                Subject::Parent => actor.and_then(|process| process.parent.as_deref()),
                Subject::Target => event.holdfast.target.as_deref(),
            };
            part_of(process, part, side)
        }
    }
}

impl ProcessList for Vec<Rendered<Process<'static>>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn part(&self, index: usize, part: Part) -> Value<'_> {
        part_of(self.get(index).map(|process| &**process), part, Side::Known)
    }
}

fn plain_field<'a>(event: &'a Event<'_>, plain: Plain) -> Value<'a> {
    let process = event.process.as_ref();
    let thread = process.and_then(|process| process.thread.as_ref());
    let file = event.file.as_ref();
    let source = event.source.as_ref();
    let destination = event.destination.as_ref();
    let network = event.network.as_ref();
    let dns = event.dns.as_ref();
    let question = dns.and_then(|dns| dns.question.as_ref());
    let container = event.container.as_ref();
    let image = container.and_then(|container| container.image.as_ref());
    let orchestrator = event.orchestrator.as_ref();
    let os = event.host.map(|host| &host.os);
    let cloud = event.cloud.map(|cloud| &**cloud);
    let holdfast = &event.holdfast;
    let xattr = holdfast.xattr.as_ref();
    let (mount, socket) = (holdfast.mount.as_ref(), holdfast.socket.as_ref());
    let executable = holdfast.executable.as_ref();
    let user = event.user.as_ref().map(|user| &user.changes);
    let effective = event.user.as_ref().map(|user| &user.effective);
    let ids = holdfast.ids.as_ref();
    let (rlimit, scheduler) = (holdfast.rlimit.as_ref(), holdfast.scheduler.as_ref());
    let sets = holdfast.capabilities.as_ref();
    let (bpf, memory) = (holdfast.bpf.as_ref(), holdfast.memory.as_ref());
    let (ipc, lifecycle) = (holdfast.ipc.as_ref(), holdfast.container.as_ref());
    let grants = lifecycle.and_then(|it| it.grants);
    let namespaces = holdfast.namespaces;
    let path = holdfast.path.as_ref();
    let target = holdfast.target_path.as_ref();
    match plain {
        Plain::Timestamp => time::recorded(&event.timestamp),
        Plain::EventAction => Value::string(Some(event.event.action)),
        Plain::EventOutcome => Value::string(Some(event.event.outcome)),
        Plain::HostId => Value::string(event.host.map(|host| host.id.as_str())),
        Plain::HostName => Value::string(event.host.map(|host| host.name.as_str())),
        Plain::OsName => Value::string(os.and_then(|os| os.name.as_deref())),
        Plain::OsVersion => Value::string(os.and_then(|os| os.version.as_deref())),
        Plain::OsFull => Value::string(os.and_then(|os| os.full.as_deref())),
        Plain::OsFamily => Value::string(os.and_then(|os| os.family.as_deref())),
        Plain::OsPlatform => Value::string(os.and_then(|os| os.platform.as_deref())),
        Plain::OsKernel => Value::string(os.map(|os| os.kernel.as_str())),
        Plain::CloudProvider => Value::string(cloud.map(|cloud| cloud.provider.as_str())),
        Plain::CloudRegion => Value::string(cloud.and_then(|cloud| cloud.region.as_deref())),
        Plain::CloudZone => {
            Value::string(cloud.and_then(|cloud| cloud.availability_zone.as_deref()))
        }
        Plain::CloudInstance => {
            let instance = cloud.and_then(|cloud| cloud.instance.as_ref());
            Value::string(instance.map(|it| it.id.as_str()))
        }
        Plain::CloudMachine => {
            let machine = cloud.and_then(|cloud| cloud.machine.as_ref());
            Value::string(machine.map(|it| it.kind.as_str()))
        }
        Plain::CloudAccount => {
            let account = cloud.and_then(|cloud| cloud.account.as_ref());
            Value::string(account.map(|it| it.id.as_str()))
        }
        Plain::ExitCode => Value::int(process.and_then(|process| process.exit_code)),
        Plain::ThreadId => Value::int(thread.map(|thread| thread.id)),
        Plain::Capabilities => Value::Strings(
            thread
                .and_then(|thread| thread.capabilities.as_ref())
                .map_or(Strings::EMPTY, |set| Strings::Names(&set.effective)),
        ),
        Plain::Ancestors => match process {
            Some(process) => Value::Processes(&process.ancestors),
            None => Value::Processes(const { &Vec::<Rendered<Process<'static>>>::new() }),
        },
        Plain::FilePath => Value::string(file.and_then(|file| file.path.as_deref())),
        Plain::FileTargetPath => Value::string(file.and_then(|file| file.target_path.as_deref())),
        Plain::FileInode => Value::string(file.and_then(|file| file.inode.as_deref())),
        Plain::FileDevice => Value::string(file.and_then(|file| file.device.as_deref())),
        Plain::FileMode => Value::string(file.and_then(|file| file.mode.as_deref())),
        Plain::FileUid => Value::string(file.and_then(|file| file.uid.as_deref())),
        Plain::FileGid => Value::string(file.and_then(|file| file.gid.as_deref())),
        Plain::SourceIp => source.map_or(Value::Absent, |own| Value::Ip(own.ip)),
        Plain::SourcePort => Value::int(source.map(|own| own.port)),
        Plain::DestinationIp => destination.map_or(Value::Absent, |peer| Value::Ip(peer.ip)),
        Plain::DestinationPort => Value::int(destination.map(|peer| peer.port)),
        Plain::NetworkTransport => {
            Value::string(network.and_then(|network| network.transport.as_deref()))
        }
        Plain::ContainerId => Value::string(Some(container.map_or("", |it| &it.id))),
        Plain::ContainerName => Value::string(container.and_then(|it| it.name.as_deref())),
        Plain::ContainerRuntime => Value::string(container.and_then(|it| it.runtime)),
        Plain::ContainerImageName => Value::string(image.map(|it| &*it.name)),
        Plain::ContainerImageTag => owned(image.map(|it| &it.tag)),
        Plain::ContainerImageHash => {
            let hash = image.and_then(|image| image.hash.as_ref());
            owned(hash.map(|it| &it.all))
        }
        Plain::ContainerLabels => {
            container.map_or(Value::Absent, |it| Value::Map(Map::Owned(&it.labels)))
        }
        Plain::ContainerPrivileged => Value::bool(container.and_then(|it| it.privileged)),
        Plain::AddedCapabilities => owned(grants.map(|it| &it.added_capabilities)),
        Plain::HostNamespaces => owned(grants.map(|it| &it.host_namespaces)),
        Plain::ContainerMounts => owned(grants.map(|it| &it.mounts)),
        Plain::ContainerSandbox => Value::bool(grants.map(|it| it.is_sandbox)),
        Plain::GuestKernel => Value::string(grants.and_then(|it| it.guest_kernel)),
        Plain::ContainerExitCode => Value::int(lifecycle.and_then(|it| it.exit_code)),
        Plain::ImageOperation => Value::string(holdfast.image.map(|it| it.operation)),
        Plain::OrchestratorType => Value::string(orchestrator.map(|it| it.kind)),
        Plain::OrchestratorNamespace => {
            Value::string(orchestrator.and_then(|it| it.namespace.as_deref()))
        }
        Plain::ResourceName => {
            Value::string(orchestrator.and_then(|it| it.resource.name.as_deref()))
        }
        Plain::ResourceType => Value::string(orchestrator.map(|it| it.resource.kind)),
        Plain::ResourceId => Value::string(orchestrator.map(|it| it.resource.id.as_ref())),
        Plain::ResourceLabel => Value::Strings(
            orchestrator.map_or(Strings::EMPTY, |it| Strings::Owned(it.resource.label)),
        ),
        Plain::NetworkType => Value::string(network.and_then(|network| network.family)),
        Plain::DnsType => Value::string(dns.map(|dns| dns.direction)),
        Plain::DnsId => Value::string(dns.and_then(|dns| dns.id.as_deref())),
        Plain::DnsOpCode => Value::string(dns.and_then(|dns| dns.op_code.as_deref())),
        Plain::DnsQuestionName => Value::string(question.map(|it| &*it.name)),
        Plain::DnsQuestionType => Value::string(question.map(|it| &*it.record_type)),
        Plain::DnsQuestionClass => Value::string(question.map(|it| &*it.class)),
        Plain::DnsResponseCode => Value::string(dns.and_then(|dns| dns.response_code.as_deref())),
        Plain::DnsResolvedIp => owned(dns.map(|dns| &dns.resolved_ip)),
        Plain::NetworkDirection => Value::string(network.and_then(|network| network.direction)),
        Plain::SocketFamily => Value::string(socket.map(|socket| &*socket.family)),
        Plain::SocketType => Value::string(socket.and_then(|it| it.socket_type.as_deref())),
        Plain::SocketPath => Value::string(socket.and_then(|it| it.path.as_deref())),
        Plain::Tier => Value::string(holdfast.tier),
        Plain::UserId => Value::string(user.and_then(|user| user.id.as_deref())),
        Plain::UserName => Value::string(user.and_then(|user| user.name.as_deref())),
        Plain::UserEffectiveId => Value::string(effective.and_then(|user| user.id.as_deref())),
        Plain::UserEffectiveName => Value::string(effective.and_then(|user| user.name.as_deref())),
        Plain::GroupId => group(user),
        Plain::GroupEffectiveId => group(effective),
        Plain::SavedId => Value::string(ids.and_then(|ids| ids.saved.as_deref())),
        Plain::FilesystemId => Value::string(ids.and_then(|ids| ids.filesystem.as_deref())),
        Plain::Groups => owned(ids.map(|ids| &ids.groups)),
        Plain::Flags => Value::Strings(Strings::Names(&holdfast.flags)),
        Plain::JoinedNamespace => Value::int(holdfast.joined_namespace),
        Plain::XattrName => Value::string(xattr.and_then(|it| it.name.as_deref())),
        Plain::XattrRemoved => xattr.map_or(Value::Absent, |it| Value::Bool(it.removed)),
        Plain::MountSource => Value::string(mount.and_then(|it| it.source.as_deref())),
        Plain::MountType => Value::string(mount.and_then(|it| it.file_system.as_deref())),
        Plain::Signal => Value::string(holdfast.signal.as_deref()),
        Plain::LoginUid => Value::int(holdfast.login_uid),
        Plain::CgroupId => Value::int(holdfast.cgroup_id),
        Plain::MountNamespace => Value::int(namespaces.map(|namespaces| namespaces.mnt)),
        Plain::PidNamespace => Value::int(namespaces.map(|namespaces| namespaces.pid)),
        Plain::NetworkNamespace => Value::int(namespaces.map(|namespaces| namespaces.net)),
        Plain::ExecutableDeleted => Value::bool(executable.map(|it| it.deleted)),
        Plain::ExecutableMemfd => Value::bool(executable.map(|it| it.memfd)),
        Plain::ExecutableArgument => {
            Value::string(executable.and_then(|it| it.argument.as_deref()))
        }
        Plain::IpcOperation => Value::string(ipc.map(|ipc| ipc.operation)),
        Plain::IpcKey => Value::string(ipc.and_then(|ipc| ipc.key.as_deref())),
        Plain::IpcId => Value::int(ipc.and_then(|ipc| ipc.id)),
        Plain::IpcOwner => Value::string(ipc.and_then(|ipc| ipc.owner.as_deref())),
        Plain::IpcMode => Value::string(ipc.and_then(|ipc| ipc.mode.as_deref())),
        Plain::IpcName => Value::string(ipc.and_then(|ipc| ipc.name.as_deref())),
        Plain::Capability => Value::string(holdfast.capability.as_deref()),
        Plain::UserNamespace => Value::int(holdfast.user_namespace),
        Plain::Suppressed => Value::int(holdfast.suppressed),
        Plain::CapabilitiesEffective => names(sets.map(|sets| &sets.effective)),
        Plain::CapabilitiesPermitted => names(sets.map(|sets| &sets.permitted)),
        Plain::CapabilitiesInheritable => names(sets.map(|sets| &sets.inheritable)),
        Plain::RlimitResource => Value::string(rlimit.map(|it| &*it.resource)),
        Plain::RlimitSoft => Value::int(rlimit.map(|it| it.soft)),
        Plain::RlimitHard => Value::int(rlimit.map(|it| it.hard)),
        Plain::SchedulerCall => Value::string(scheduler.and_then(|it| it.call)),
        Plain::SchedulerPolicy => Value::string(scheduler.and_then(|it| it.policy.as_deref())),
        Plain::SchedulerPriority => Value::int(scheduler.and_then(|it| it.priority)),
        Plain::MemoryProtection => names(memory.map(|it| &it.protection)),
        Plain::MemoryPrevious => names(memory.map(|it| &it.previous)),
        Plain::MemoryAnonymous => memory
            .and_then(|it| it.anonymous)
            .map_or(Value::Absent, Value::Bool),
        Plain::MemoryRegion => Value::string(memory.and_then(|it| it.region)),
        Plain::MemoryAddress => Value::string(memory.and_then(|it| it.address.as_deref())),
        Plain::MemorySize => Value::int(memory.and_then(|it| it.size)),
        Plain::MemoryName => Value::string(memory.and_then(|it| it.name.as_deref())),
        Plain::MemoryMethod => Value::string(memory.and_then(|it| it.method)),
        Plain::BpfCommand => Value::string(bpf.and_then(|bpf| bpf.command.as_deref())),
        Plain::BpfProgramType => Value::string(bpf.and_then(|bpf| bpf.program_type.as_deref())),
        Plain::BpfAttachType => Value::string(bpf.and_then(|bpf| bpf.attach_type.as_deref())),
        Plain::BpfName => Value::string(bpf.and_then(|bpf| bpf.name.as_deref())),
        Plain::ExecutableScript => Value::string(executable.and_then(|it| it.script.as_deref())),
        Plain::ExecutableInterpreter => {
            Value::string(executable.and_then(|it| it.interpreter.as_deref()))
        }
        Plain::ExecutableInode => Value::string(executable.and_then(|it| it.inode.as_deref())),
        Plain::ExecutableDevice => Value::string(executable.and_then(|it| it.device.as_deref())),
        Plain::ExecutableSetuid => Value::bool(executable.and_then(|it| it.setuid)),
        Plain::ExecutableSetgid => Value::bool(executable.and_then(|it| it.setgid)),
        Plain::ExecutableUpperLayer => Value::bool(executable.and_then(|it| it.upper_layer)),
        Plain::CapabilitiesGained => names(sets.map(|sets| &sets.gained)),
        Plain::PathProcess => Value::string(path.and_then(|it| it.process.as_deref())),
        Plain::PathHost => Value::string(path.and_then(|it| it.host.as_deref())),
        Plain::PathNamespace => Value::int(path.and_then(|it| it.namespace)),
        Plain::PathOutsideRoot => Value::bool(path.and_then(|it| it.outside_root.then_some(true))),
        Plain::PathDeleted => Value::bool(path.and_then(|it| it.deleted.then_some(true))),
        Plain::TargetPathProcess => Value::string(target.and_then(|it| it.process.as_deref())),
        Plain::TargetPathHost => Value::string(target.and_then(|it| it.host.as_deref())),
        Plain::TargetPathOutsideRoot => {
            Value::bool(target.and_then(|it| it.outside_root.then_some(true)))
        }
    }
}

fn names<'a>(list: Option<&'a Vec<&'static str>>) -> Value<'a> {
    Value::Strings(Strings::Names(list.map_or(&[], |list| list)))
}

fn owned(list: Option<&Vec<String>>) -> Value<'_> {
    Value::Strings(list.map_or(Strings::EMPTY, |list| Strings::Owned(list)))
}

fn group<'a>(identity: Option<&'a Identity<'_>>) -> Value<'a> {
    let group = identity.and_then(|identity| identity.group.as_ref());
    Value::string(group.map(|group| group.id.as_str()))
}

fn part_of<'a>(process: Option<&'a Process<'_>>, part: Part, side: Side) -> Value<'a> {
    let Some(process) = process else {
        return match part {
            Part::Args | Part::EnvVars => Value::Strings(Strings::EMPTY),
            _ => Value::Absent,
        };
    };
    let user = process.user.as_ref();
    match part {
        Part::Pid => Value::Int(process.pid.into()),
        Part::Executable => Value::string(process.executable.as_deref()),
        Part::Name => Value::string(process.name.as_deref()),
        Part::Args => side.of(&process.args),
        Part::CommandLine => side.of(&process.args).joined(),
        Part::EnvVars => side.of(&process.env_vars),
        Part::WorkingDirectory => Value::string(process.working_directory.as_deref()),
        Part::EntityId => Value::string(process.entity_id.as_deref()),
        Part::UserId => Value::string(user.map(|user| user.id.as_str())),
        Part::UserName => Value::string(user.and_then(|user| user.name.as_deref())),
        Part::UserEffectiveId => Value::string(
            user.and_then(|user| user.effective.as_ref())
                .map(|id| id.id.as_str()),
        ),
        Part::GroupId => Value::string(process.group.as_ref().map(|group| group.id.as_str())),
        Part::Start => process
            .start
            .as_deref()
            .map_or(Value::Absent, time::recorded),
        Part::TtyName => Value::string(process.tty.as_ref().map(|tty| tty.name.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::event::{
        Becomes, Bpf, Capabilities, CapabilitySets, Cloud, Container, Dns, DnsQuestion, Endpoint,
        EventFields, Executable, File, Grants, Holdfast, Host, Id, Ids, Image, ImageChange,
        ImageHash, Ipc, Lifecycle, Memory, Mount, Named, Namespaces, Network, Orchestrator, Os,
        PathView, Resource, Rlimit, Scheduler, Socket, Thread, Tty, Typed, User, Xattr,
    };

    fn process(name: &'static str) -> Process<'static> {
        Process {
            entity_id: Some("e1".into()),
            pid: 42,
            executable: Some(name.into()),
            name: Some("n".into()),
            args: Redactable::new(vec!["a".to_owned(), "b".to_owned()].into(), None),
            env_vars: Redactable::new(vec!["A=b".to_owned()].into(), None),
            working_directory: Some("/w".into()),
            user: Some(User {
                id: "1".try_into().unwrap(),
                name: Some("u".into()),
                effective: Some(Id {
                    id: "0".try_into().unwrap(),
                }),
            }),
            group: Some(Id {
                id: "2".try_into().unwrap(),
            }),
            tty: Some(Tty {
                name: "pts0".into(),
            }),
            start: Some("2026-11-22T18:00:00.000000001Z".try_into().unwrap()),
            ..Process::default()
        }
    }

    fn identity(id: &str) -> Identity<'_> {
        Identity {
            id: Some(id.try_into().unwrap()),
            name: Some("u".into()),
            group: Some(Id {
                id: "7".try_into().unwrap(),
            }),
        }
    }

    fn view() -> PathView<'static> {
        PathView {
            process: Some("/p".into()),
            host: Some("/h".into()),
            namespace: Some(4_026_531_841),
            outside_root: true,
            deleted: true,
        }
    }

    #[test]
    fn rules_see_what_people_do_not() {
        let list = |text: &str| vec![text.to_owned()].into();
        let event = Event {
            process: Some(Process {
                args: Redactable::new(list("secret"), Some(list("[redacted]"))),
                ..Process::default()
            }),
            ..Event::default()
        };
        let args = Field::Process(Subject::Actor, Part::Args);
        assert_eq!(event.get(args).to_string(), "secret");
        assert_eq!(Shown(&event).get(args).to_string(), "[redacted]");
    }

    /// What is judged live and what is judged when the printed event is replayed is the same.
    #[test]
    fn an_event_and_its_json_have_the_same_fields() {
        let host = Rendered::new(Host {
            id: "h".into(),
            name: "host".into(),
            os: Os {
                name: Some("Debian GNU/Linux".into()),
                version: Some("12".into()),
                full: Some("Debian GNU/Linux 12".into()),
                family: Some("debian".into()),
                platform: Some("debian".into()),
                kernel: "6.1".into(),
            },
        });
        let cloud = Rendered::new(Cloud {
            provider: "aws".into(),
            region: Some("us-east-2".into()),
            availability_zone: Some("us-east-2b".into()),
            instance: Some(Named::new("i-1".into())),
            machine: Some(Typed::new("m5.large".into())),
            account: Some(Named::new("123456789012".into())),
        });
        let labels = ["tier:front".to_owned()];
        let grants = Grants {
            added_capabilities: vec!["CAP_SYS_ADMIN".into()],
            host_namespaces: vec!["pid".into()],
            mounts: vec!["/:/host".into()],
            is_sandbox: true,
            guest_kernel: Some("gvisor"),
        };
        let thread = Thread {
            id: 43,
            capabilities: Some(Rendered::new(Capabilities {
                effective: vec!["CAP_CHOWN"],
            })),
        };
        let full = Event {
            timestamp: "2026-11-22T19:00:00.123456789Z".try_into().unwrap(),
            event: EventFields {
                action: "file.open",
                outcome: "success",
                ..Default::default()
            },
            host: Some(&host),
            cloud: Some(&cloud),
            process: Some(Process {
                exit_code: Some(3),
                thread: Some(thread),
                parent: Some(Rendered::new(process("/parent"))),
                ancestors: ["/grand", "/init"].map(process).map(Rendered::new).to_vec(),
                ..process("/x")
            }),
            user: Some(Becomes {
                changes: identity("0"),
                effective: identity("1"),
            }),
            file: Some(File {
                path: Some("/p".into()),
                target_path: Some("/t".into()),
                inode: Some("1".try_into().unwrap()),
                device: Some("8:1".try_into().unwrap()),
                mode: Some("0644".try_into().unwrap()),
                uid: Some("1000".try_into().unwrap()),
                gid: Some("1001".try_into().unwrap()),
            }),
            source: Some(Endpoint {
                ip: [10, 0, 0, 2].into(),
                port: 80,
            }),
            destination: Some(Endpoint {
                ip: [10, 0, 0, 1].into(),
                port: 443,
            }),
            network: Some(Network {
                transport: Some("tcp".into()),
                family: Some("ipv4"),
                direction: Some("egress"),
            }),
            dns: Some(Dns {
                direction: "answer",
                id: Some("7".into()),
                op_code: Some("QUERY".into()),
                question: Some(DnsQuestion {
                    name: "example.org".into(),
                    record_type: "A".into(),
                    class: "IN".into(),
                }),
                response_code: Some("NOERROR".into()),
                answers: Vec::new(),
                resolved_ip: vec!["192.0.2.1".into()],
            }),
            container: Some(Rendered::new(Container {
                id: "c1".into(),
                name: Some("web".into()),
                runtime: Some("docker"),
                image: Some(Image {
                    name: "nginx".into(),
                    tag: vec!["1.27".into()],
                    hash: Some(ImageHash {
                        all: vec!["sha256:12".into()],
                    }),
                }),
                privileged: Some(true),
                labels: [("app".to_owned(), "shop".to_owned())].into(),
            })),
            orchestrator: Some(Orchestrator {
                kind: "kubernetes",
                namespace: Some("prod".into()),
                resource: Resource {
                    kind: "pod",
                    name: Some("web-0".into()),
                    id: "p1".into(),
                    label: &labels,
                },
            }),
            holdfast: Holdfast {
                tier: Some("lsm"),
                login_uid: Some(1000),
                cgroup_id: Some(77),
                namespaces: Some(Namespaces {
                    mnt: 1,
                    pid: 2,
                    net: 3,
                }),
                flags: vec!["O_RDONLY"],
                joined_namespace: Some(4),
                socket: Some(Socket {
                    family: "AF_UNIX".into(),
                    socket_type: Some("SOCK_STREAM".into()),
                    path: Some("@x".into()),
                }),
                xattr: Some(Xattr {
                    name: Some("user.x".into()),
                    removed: false,
                }),
                mount: Some(Mount {
                    source: Some("/dev/vda1".into()),
                    file_system: Some("ext4".into()),
                }),
                signal: Some("SIGTERM".into()),
                target: Some(Box::new(process("/target"))),
                path: Some(view()),
                target_path: Some(view()),
                executable: Some(Executable {
                    argument: Some("./x".into()),
                    script: Some("/x".into()),
                    interpreter: Some("/bin/sh".into()),
                    inode: Some("7".try_into().unwrap()),
                    device: Some("8:1".try_into().unwrap()),
                    setuid: Some(true),
                    setgid: Some(false),
                    upper_layer: Some(true),
                    deleted: true,
                    memfd: false,
                }),
                ids: Some(Ids {
                    saved: Some("4".try_into().unwrap()),
                    filesystem: Some("5".try_into().unwrap()),
                    groups: vec!["6".into()],
                }),
                ipc: Some(Ipc {
                    operation: "shmat",
                    key: Some("0x00000007".into()),
                    id: Some(8),
                    owner: Some("9".try_into().unwrap()),
                    mode: Some("0600".try_into().unwrap()),
                    name: Some("/queue".into()),
                }),
                capability: Some("CAP_CHOWN".into()),
                user_namespace: Some(5),
                suppressed: Some(6),
                capabilities: Some(CapabilitySets {
                    effective: vec!["CAP_CHOWN"],
                    permitted: vec!["CAP_CHOWN"],
                    inheritable: vec!["CAP_CHOWN"],
                    gained: vec!["CAP_NET_RAW"],
                }),
                rlimit: Some(Rlimit {
                    resource: "RLIMIT_CORE".into(),
                    soft: 1,
                    hard: i64::MAX,
                }),
                scheduler: Some(Scheduler {
                    call: Some("sched_setscheduler"),
                    policy: Some("SCHED_FIFO".into()),
                    priority: Some(1),
                }),
                memory: Some(Memory {
                    protection: vec!["PROT_EXEC"],
                    previous: vec!["PROT_READ"],
                    anonymous: Some(true),
                    region: Some("heap"),
                    address: Some("0x1000".into()),
                    size: Some(4096),
                    name: Some("m".into()),
                    method: Some("proc_mem"),
                }),
                image: Some(ImageChange { operation: "pull" }),
                container: Some(Lifecycle {
                    grants: Some(&grants),
                    exit_code: Some(137),
                }),
                bpf: Some(Bpf {
                    command: Some("BPF_PROG_LOAD".into()),
                    program_type: Some("BPF_PROG_TYPE_LSM".into()),
                    attach_type: Some("BPF_LSM_MAC".into()),
                    name: Some("probe".into()),
                }),
                ..Holdfast::default()
            },
            ..Event::default()
        };
        for (event, is_full) in [(full, true), (Event::default(), false)] {
            let json = serde_json::to_value(&event).unwrap();
            for field in Field::all() {
                let (live, recorded) = (event.get(field), Fields::get(&json, field));
                assert_eq!(live.to_string(), recorded.to_string(), "{}", field.name());
                assert_eq!(live.is_present(), recorded.is_present(), "{}", field.name());
                assert!(
                    !is_full || live.is_present(),
                    "{} is not read",
                    field.name()
                );
            }
        }
    }
}
