//! The table of settings: the one place that knows their keys, defaults, bounds and meaning.
//! `config show`, validation, the environment's names and the documentation all derive from it.

use holdfast_wire::frame::MAX_ENTRIES;

use super::kind::{Item, Kind};

/// One setting.
pub(crate) struct Setting {
    /// Section and name, as `events.report`.
    pub(crate) key: &'static str,
    /// What its value can be.
    pub(crate) kind: Kind,
    /// Its value when nothing sets it, as one text.
    pub(crate) default: &'static str,
    /// What it does.
    pub(crate) doc: &'static str,
    /// Whether this version can do anything but the default.
    pub(crate) available: bool,
}

impl Setting {
    /// The environment variable that sets it.
    pub(crate) fn environment(&self) -> String {
        format!(
            "{ENVIRONMENT_PREFIX}{}",
            self.key.replace('.', "_").to_uppercase()
        )
    }
}

/// What the environment variables of all settings begin with.
pub(crate) const ENVIRONMENT_PREFIX: &str = "HOLDFAST_OPT_";

/// Environment variables beside the derived ones, that container images commonly set.
pub(crate) const ENVIRONMENT_ALIASES: [(&str, &str); 2] =
    [("HOST_FS", "host.fs"), ("NET_NS", "host.netns")];

const TIERS: &[&str] = &[
    "auto",
    "lsm",
    "fmod_ret",
    "fentry",
    "kprobe",
    "tracepoint",
    "fanotify",
];

/// A ring buffer's size: what the kernel takes, and at most what a sensor may sensibly hold.
const RING: Kind = Kind::Bytes {
    min: 64 << 10,
    max: 1 << 30,
    power_of_two: true,
};

/// Up to a minute: what waits takes the room of what comes after it.
const ENGINE_WAIT: Kind = Kind::Duration {
    min: 0,
    max: 60_000,
};

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default,
        doc,
        available: true,
    }
}

const fn later(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting {
        key,
        kind,
        default,
        doc,
        available: false,
    }
}

/// The mode in which policies are made of what happens.
pub(crate) const DERIVE: &str = "derive";

/// Every setting, section by section.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "mode",
        Kind::OneOf(&["observe", "enforce", DERIVE]),
        "observe",
        "the most that any policy may do: observe only reports what would have been done; derive does the same, \
         and writes allow-list policies of what happens to state.dir, `derived`",
    ),
    setting(
        "tier",
        Kind::OneOf(TIERS),
        "auto",
        "how hooks are attached; auto takes the best that works, hook by hook, and fanotify where there is \
         no eBPF at all",
    ),
    setting(
        "output",
        Kind::OneOf(&["pretty", "json", "none"]),
        "pretty",
        "what `run` prints to stdout",
    ),
    setting(
        "events.report",
        Kind::List(Item::ActionGlob),
        "process.exec,process.exit,network.connect,network.listen,kernel.*,container.*,sensor.*",
        "actions reported even when no rule matches",
    ),
    setting(
        "events.environment",
        Kind::List(Item::Variable),
        "",
        "variables of the environment that events of a process show, such as LD_PRELOAD; of the first \
         4 KiB of its environment, at exec",
    ),
    setting(
        "events.redact",
        Kind::List(Item::Pattern),
        "default",
        "regular expressions for what of arguments and environment is shown as [redacted]: their groups, \
         or all that they match; a NUL stands between arguments; \"default\" is the usual forms of \
         passwords, tokens and keys; given as one text they are separated by line ends",
    ),
    setting(
        "policy.paths",
        Kind::List(Item::Path),
        "/etc/holdfast/policies",
        "policy files, and directories of them (*.json without *.test.json)",
    ),
    setting(
        "never_kill",
        Kind::List(Item::Text),
        "",
        "executables that are never killed, by path or last component, besides pid 1, the sensor and \
         the container engines",
    ),
    setting(
        "state.dir",
        Kind::Path,
        "/var/lib/holdfast",
        "what outlives a run: derived policies, and what belongs to the Team Server",
    ),
    setting(
        "log.dir",
        Kind::Path,
        "/var/log/holdfast",
        "where events.jsonl is written",
    ),
    setting(
        "log.format",
        Kind::OneOf(&["text", "json"]),
        "text",
        "how the lines are that are logged to stderr; json is an object a line, with names of ECS. Of more than a hundred \
         lines that one place in the code logs within ten seconds the rest is left out, and counted",
    ),
    setting(
        "log.level",
        Kind::Levels,
        "info",
        "what is logged to stderr; `holdfast config set log.level …` changes it in the running sensor at once",
    ),
    setting(
        "log.max_size",
        Kind::Bytes {
            min: 1 << 20,
            max: 1 << 40,
            power_of_two: false,
        },
        "64MiB",
        "bytes of events.jsonl after which it is rotated",
    ),
    setting(
        "log.files",
        Kind::Integer { min: 0, max: 1000 },
        "5",
        "rotated event files kept beside the current one; 0 writes no event file at all",
    ),
    setting(
        "control.socket",
        Kind::Path,
        "/run/holdfast/control.sock",
        "the control socket; the lock against a second sensor stands beside it",
    ),
    setting(
        "kernel.btf",
        Kind::OptionalPath,
        "",
        "BTF file for a kernel that has none of its own; empty: /sys/kernel/btf/vmlinux",
    ),
    setting(
        "kernel.fanotify",
        Kind::OneOf(&["never", "auto"]),
        "never",
        "auto: where opens and execs end up in the tracepoint tier, what policies deny of them is refused \
         through fanotify",
    ),
    setting(
        "kernel.process_ring",
        RING,
        "4MiB",
        "bytes of the ring for process events",
    ),
    setting(
        "kernel.file_ring",
        RING,
        "8MiB",
        "bytes of the ring for file events",
    ),
    setting(
        "kernel.network_ring",
        RING,
        "2MiB",
        "bytes of the ring for network events",
    ),
    setting(
        "kernel.memory_ring",
        RING,
        "1MiB",
        "bytes of the ring for memory events",
    ),
    setting(
        "kernel.capability_ring",
        RING,
        "1MiB",
        "bytes of the ring for capability and kernel events",
    ),
    setting(
        "kernel.buffer",
        Kind::OneOf(&["auto", "ring", "perf"]),
        "auto",
        "what carries records from the kernel: ring buffers, or perf buffers where the kernel has none \
         (before 5.8), each domain's bytes then divided among the CPUs (64KiB each at least, and an \
         eighth more for urgent records); auto finds out by trying; ring refuses to start without them",
    ),
    setting(
        "limits.cgroup_events_per_second",
        Kind::Integer {
            min: 0,
            max: 10_000_000,
        },
        "0",
        "the most events a second that one cgroup gets through in each domain (process, file, network, \
         memory, capability) where only events.report asks for them; what is more is withheld in the \
         kernel and counted as capped. What a rule asks for (other than to allow it), the life of \
         processes, and the root cgroup are not capped. 0: no cap",
    ),
    setting(
        "limits.cgroup_burst",
        Kind::Integer {
            min: 0,
            max: 10_000_000,
        },
        "0",
        "events that a cgroup gets through at once, after a pause, before the cap bites; 0: those of a \
         second",
    ),
    setting(
        "metrics.listen",
        Kind::OptionalAddress,
        "",
        "address and port at which `GET /metrics` answers without asking who asks, as 127.0.0.1:9187 or [::]:9187 \
         (a port below 1024 only where net.ipv4.ip_unprivileged_port_start allows it); nothing: it listens nowhere, and `holdfast status --metrics` shows the same",
    ),
    setting(
        "kernel.pin_dir",
        Kind::Path,
        "/sys/fs/bpf/holdfast",
        "directory in the BPF file system where programs and maps are pinned that outlive the sensor",
    ),
    setting(
        "kernel.on_exit",
        Kind::OneOf(&["auto", "fail-closed", "fail-open"]),
        "auto",
        "what becomes of the kernel programs when the sensor ends, by a signal, a crash or a stop. fail-closed: \
         they go on deciding by the policies last in force, and their records wait in the rings, until the next \
         sensor goes on with them or `holdfast stop --unload` detaches them. fail-open: they end with it. auto: \
         fail-closed in mode enforce, as far as the kernel can keep them; fail-open in the other modes",
    ),
    setting(
        "runtime.docker",
        Kind::List(Item::Path),
        "/run/docker.sock,/run/podman/podman.sock,/run/user/*/podman/podman.sock",
        "sockets of the Docker Engine API, which Podman serves, too: asked for the names, images and labels of \
         containers; below host.fs, or as they are. A directory of a path may be *, for any, as of users that have \
         a Podman of their own: of at most 64. Nothing: none is asked",
    ),
    setting(
        "runtime.containerd",
        Kind::List(Item::Path),
        "/run/containerd/containerd.sock,/run/k3s/containerd/containerd.sock,\
         /var/snap/microk8s/common/run/containerd.sock",
        "sockets of containerd's API, likewise: of containers in all its namespaces, those of Kubernetes among them",
    ),
    setting(
        "runtime.cri",
        Kind::List(Item::Path),
        "/run/containerd/containerd.sock,/run/k3s/containerd/containerd.sock,\
         /var/snap/microk8s/common/run/containerd.sock,/run/crio/crio.sock,/run/cri-dockerd.sock,\
         /run/dockershim.sock",
        "sockets at which CRI is served, by which the kubelet has pods run: containerd, CRI-O, cri-dockerd. Asked for the \
         names, pods and labels of containers; one that does not serve it is left alone",
    ),
    setting(
        "runtime.listening",
        Kind::Flag,
        "true",
        "also ask engines at sockets that none of these name: where root's processes that are in no container listen at a path \
         that ends as engines call theirs (docker.sock, podman.sock, containerd.sock, crio.sock, cri-dockerd.sock, dockershim.sock), \
         and where users' do, who are believed about their own containers. It is looked every 30 seconds",
    ),
    setting(
        "runtime.event_wait",
        ENGINE_WAIT,
        "500ms",
        "how long an event from a container that its engine has not told of yet waits for the name, image and labels, and is \
         then sent with what is known; rules on these see nothing of them then. At most 1,024 events wait, and 8 MiB of them: what \
         comes beyond goes on at once. `holdfast status` shows how many went on without. 0: none waits",
    ),
    setting(
        "runtime.alert_wait",
        ENGINE_WAIT,
        "2s",
        "the same for alerts. A verdict that kills or denies does not wait",
    ),
    setting(
        "host.fs",
        Kind::Path,
        "/",
        "the host's root when the sensor runs in a container",
    ),
    later(
        "host.netns",
        Kind::Path,
        "/run/netns",
        "the host's directory of network namespaces when the sensor runs in a container",
    ),
    setting(
        "self.protect",
        Kind::Flag,
        "false",
        "keep others from the sensor: its process is not signalled, traced or starved, its executable, configuration,          policies, state, event file, control socket and pins are not changed. What is refused is refused where          policies refuse (mode enforce), and an alert of the policy self-protection; `holdfast maintenance` opens a          window, `holdfast stop` goes on working",
    ),
    setting(
        "self.managers",
        Kind::List(Item::Path),
        "/usr/lib/systemd/systemd,/usr/lib/systemd/systemd-executor,/usr/lib/systemd/systemd-shutdown,\
         /lib/systemd/systemd,/sbin/init,/sbin/openrc-run,/sbin/start-stop-daemon,/sbin/supervise-daemon,\
         /usr/bin/runc,/usr/sbin/runc,/usr/bin/crun,/usr/bin/conmon",
        "executables that may do so all the same, outside of containers: what starts and stops the sensor. Who may          tell them to is theirs to decide",
    ),
    setting(
        "uplink.url",
        Kind::OptionalUrl,
        "",
        "the Team Server that events are sent to and policies come from; nothing: there is none, and nothing of what \
         follows is used. http:// is for this machine only, unless uplink.insecure is true",
    ),
    setting(
        "uplink.key",
        Kind::Secret,
        "",
        "the installation key, by which the sensor enrols once; what it gets for it is kept in state.dir. Flags are \
         seen by everybody on the machine: better in a file",
    ),
    setting(
        "uplink.key_file",
        Kind::OptionalPath,
        "",
        "a file with the installation key, as systemd's LoadCredential= makes one; read when the sensor enrols, where \
         uplink.key is not set",
    ),
    setting(
        "uplink.ca",
        Kind::OptionalPath,
        "",
        "PEM file of certificates: the server is trusted if it is certified by one of them, and by no other; nothing: \
         by those whom the system trusts",
    ),
    setting(
        "uplink.client_certificate",
        Kind::OptionalPath,
        "",
        "PEM file of the certificate that the sensor shows, for a server that asks for one (mutual TLS), and of those \
         between it and its authority",
    ),
    setting(
        "uplink.client_key",
        Kind::OptionalPath,
        "",
        "PEM file of the private key of that certificate",
    ),
    setting(
        "uplink.proxy",
        Kind::OptionalUrl,
        "",
        "HTTP proxy by which the server is reached (CONNECT), as http://proxy.example.org:3128",
    ),
    setting(
        "uplink.insecure",
        Kind::Flag,
        "false",
        "permit http:// to a server that is not on this machine: who is in between reads all and can be either end",
    ),
    setting(
        "uplink.events",
        Kind::List(Item::ActionGlob),
        "container.*,kernel.*,sensor.*",
        "actions of which events are sent though no rule matched; alerts are always. The usual ones say how a host is, \
         and are few; what processes, files and the network do is many times more, and in the host's event file anyway. \
         Only what events.report asks for can be sent",
    ),
    setting(
        "uplink.batch_events",
        Kind::Integer {
            min: 1,
            max: MAX_ENTRIES as i64,
        },
        "1000",
        "the most events of a request",
    ),
    setting(
        "uplink.batch_bytes",
        Kind::Bytes {
            min: 4 << 10,
            // A frame takes 4 MiB, were they not to be compressed at all.
            max: 3 << 20,
            power_of_two: false,
        },
        "1MiB",
        "the most bytes of a request's events, before compression; a single event may have more",
    ),
    setting(
        "uplink.batch_interval",
        Kind::Duration {
            min: 10,
            max: 3_600_000,
        },
        "1s",
        "how long events wait for others to be sent with; alerts do not wait",
    ),
    setting(
        "uplink.bandwidth",
        Kind::Bytes {
            min: 0,
            max: 1 << 40,
            power_of_two: false,
        },
        "0",
        "the most bytes a second that events take on the line, in the long run; 0: any number",
    ),
    setting(
        "uplink.spool_max_size",
        Kind::Bytes {
            min: 1 << 20,
            max: 64 << 30,
            power_of_two: false,
        },
        "256MiB",
        "bytes of state.dir that may wait for the server; when they are used up the oldest events go, and alerts only \
         when there are no events",
    ),
    setting(
        "uplink.spool_max_age",
        Kind::Duration {
            min: 60_000,
            max: 365 * 24 * 3_600_000,
        },
        "7d",
        "how long something may wait for the server",
    ),
];

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn defaults_are_valid_and_names_are_unique() {
        for setting in SETTINGS {
            setting
                .kind
                .read_text(setting.default)
                .unwrap_or_else(|e| panic!("{}: {e}", setting.key));
        }
        let names: BTreeSet<String> = SETTINGS.iter().map(Setting::environment).collect();
        assert_eq!(names.len(), SETTINGS.len());
        for (_, key) in ENVIRONMENT_ALIASES {
            assert!(find(key).is_some(), "{key}");
        }
    }
}
