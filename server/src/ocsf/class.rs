//! Which class and activity an action is.

/// A class of events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) uid: i64,
    pub(super) name: &'static str,
    pub(super) category: i64,
    pub(super) category_name: &'static str,
    /// Attributes that an event of it has to have, beside those that all have.
    pub(super) requires: &'static [&'static str],
}

impl Class {
    const fn new(
        uid: i64,
        name: &'static str,
        category_name: &'static str,
        requires: &'static [&'static str],
    ) -> Self {
        Self {
            uid,
            name,
            category: uid / 1000,
            category_name,
            requires,
        }
    }
}

const SYSTEM: &str = "System Activity";
const NETWORK: &str = "Network Activity";

/// For what is of no other.
pub(super) static BASE: Class = Class::new(0, "Base Event", "Uncategorized", &[]);
pub(super) static FINDING: Class =
    Class::new(2004, "Detection Finding", "Findings", &["finding_info"]);
static FILE: Class = Class::new(1001, "File System Activity", SYSTEM, &["actor", "file"]);
static EXTENSION: Class = Class::new(
    1002,
    "Kernel Extension Activity",
    SYSTEM,
    &["actor", "driver"],
);
static KERNEL: Class = Class::new(1003, "Kernel Activity", SYSTEM, &["actor", "kernel"]);
static MEMORY: Class = Class::new(1004, "Memory Activity", SYSTEM, &["actor", "process"]);
static PROCESS: Class = Class::new(1007, "Process Activity", SYSTEM, &["actor", "process"]);
/// With an end of the connection, of which there is always the host itself.
static TRAFFIC: Class = Class::new(4001, "Network Activity", NETWORK, &[]);
static DNS: Class = Class::new(4003, "DNS Activity", NETWORK, &[]);
static LIFECYCLE: Class = Class::new(
    6002,
    "Application Lifecycle",
    "Application Activity",
    &["app"],
);

/// What is done to the object of the class.
pub(super) struct Activity {
    pub(super) class: &'static Class,
    pub(super) id: i64,
    /// As the schema has it; the action itself where it has none.
    pub(super) name: &'static str,
}

/// The activity of an action; `is_file` says whether the event has a file, and `is_answer` whether a name server speaks.
pub(super) fn activity(action: &str, is_file: bool, is_answer: bool) -> Option<Activity> {
    let (class, id, name) = match action {
        "process.exec" | "process.fork" => (&PROCESS, 1, "Launch"),
        "process.exit" => (&PROCESS, 2, "Terminate"),
        "process.ptrace" => (&PROCESS, 3, "Open"),
        "process.setuid" => (&PROCESS, 5, "Set User ID"),
        "file.create" | "file.link" | "file.symlink" | "file.mkdir" => (&FILE, 1, "Create"),
        "file.truncate" => (&FILE, 3, "Update"),
        "file.delete" | "file.rmdir" => (&FILE, 4, "Delete"),
        "file.rename" => (&FILE, 5, "Rename"),
        "file.setxattr" => (&FILE, 6, "Set Attributes"),
        "file.chmod" | "file.chown" => (&FILE, 7, "Set Security"),
        "file.mount" => (&FILE, 12, "Mount"),
        "file.umount" => (&FILE, 13, "Unmount"),
        "file.open" => (&FILE, 14, "Open"),
        "network.connect" | "network.accept" => (&TRAFFIC, 1, "Open"),
        "network.send" => (&TRAFFIC, 6, "Traffic"),
        "network.listen" => (&TRAFFIC, 7, "Listen"),
        "network.dns" if is_answer => (&DNS, 2, "Response"),
        "network.dns" => (&DNS, 1, "Query"),
        "memory.map" if is_file => (&MEMORY, 9, "Map View"),
        "memory.map" | "memory.memfd" => (&MEMORY, 1, "Allocate Page"),
        "memory.protect" => (&MEMORY, 2, "Modify Page"),
        "memory.process_write" => (&MEMORY, 8, "Write"),
        "kernel.module" if is_file => (&EXTENSION, 1, "Load"),
        "kernel.module" | "ipc.shm" | "ipc.mq" => (&KERNEL, 1, "Create"),
        "kernel.kexec" | "kernel.bpf" | "kernel.perf" => (&KERNEL, 4, "Invoke"),
        "container.start" | "sensor.start" => (&LIFECYCLE, 3, "Start"),
        "container.exit" | "sensor.stop" => (&LIFECYCLE, 4, "Stop"),
        "sensor.restart" => (&LIFECYCLE, 5, "Restart"),
        _ => {
            let class = match action.split_once('.')?.0 {
                "process" | "capability" => &PROCESS,
                "file" => &FILE,
                "network" => &TRAFFIC,
                "memory" => &MEMORY,
                "kernel" | "ipc" => &KERNEL,
                "container" | "sensor" => &LIFECYCLE,
                _ => return None,
            };
            (class, OTHER, "")
        }
    };
    Some(Activity { class, id, name })
}

/// What the schema has no activity for.
pub(super) const OTHER: i64 = 99;
