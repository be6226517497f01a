//! `self.protect`: the policy that keeps others from the sensor's process, files and pins.
//!
//! It is a policy like any other, so that the same kernel programs decide by it and the same words tell of it. The
//! sensor itself is judged by no policy; its command line and what manages the service are left out by their
//! executables.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use holdfast_actors::runtime::container_of;
use holdfast_policy::document::{Mode, Policy};
use holdfast_wire::text;
use holdfast_wire::uapi::process::parse_cgroup;
use serde_json::{Value, json};

use crate::config::{Config, drop_in_directory};
use crate::policies::{self, PolicyError};

/// The policy's name in events, and what `status` calls it.
pub(crate) const NAME: &str = "self-protection";

/// Where it comes from, as `policy list` shows it.
const SETTING: &str = "self.protect";

/// The policy, where `self.protect` asks for it; `file` is the configuration's. In a window, `Mode::Observe`, it only
/// tells: hooks stay attached, so that nothing is let through when it ends.
///
/// # Errors
/// When the sensor's executable is not known, or a policy cannot say what is to be protected.
pub(crate) fn policy(
    config: &Config,
    file: &Path,
    mode: Mode,
) -> Result<Option<Policy>, Vec<PolicyError>> {
    if !config.own.protect {
        return Ok(None);
    }
    let executable = std::env::current_exe()
        .map_err(|error| vec![PolicyError::read(Path::new("/proc/self/exe"), &error)])?;
    let mut document = document(config, &executable, file);
    document["mode"] = mode.name().into();
    let document = document.to_string();
    Policy::parse(SETTING, document.as_bytes())
        .map(Some)
        .map_err(policies::all)
}

/// A file, or a directory and what is below it, as conditions on paths say it.
struct Protected {
    path: PathBuf,
    /// What follows its path in those that are protected with it; nothing: it alone is.
    below: &'static str,
}

impl Protected {
    /// As the kernel names it: events have no symbolic links. `None` for what is everybody's, such as `/dev/null`.
    fn new(path: &Path, below: &'static str) -> Option<Self> {
        let others = fs::metadata(path)
            .is_ok_and(|it| !it.is_file() && !it.is_dir() && !it.file_type().is_socket());
        let resolved = fs::canonicalize(path).or_else(|_| {
            // It may be made later, where it would mean as much.
            let directory = path.parent().unwrap_or(Path::new("/"));
            let name = path.file_name().unwrap_or_default();
            fs::canonicalize(directory).map(|directory| directory.join(name))
        });
        let path = resolved.or_else(|_| std::path::absolute(path)).ok()?;
        (!others && path.parent().is_some()).then_some(Self { path, below })
    }

    /// That the path in `field` is one of these.
    fn is(&self, field: &str) -> String {
        let exact = format!("{field} == {}", quoted(&self.path, ""));
        if self.below.is_empty() {
            return exact;
        }
        format!(
            "{exact} || {field}.startsWith({})",
            quoted(&self.path, self.below)
        )
    }
}

/// What is protected. Only what is the sensor's own: not the directory of the control socket, nor others' logs.
fn protected(config: &Config, executable: &Path, file: &Path) -> Vec<Protected> {
    const ALONE: &str = "";
    const BELOW: &str = "/";
    let drop_ins = drop_in_directory(file);
    let mut paths: Vec<(&Path, &'static str)> = vec![
        (executable, ALONE),
        (file, ALONE),
        (&drop_ins, BELOW),
        (&config.control.socket, ALONE),
        (&config.state.dir, BELOW),
        (&config.kernel.pin_dir, BELOW),
        // The directory may be shared; old event files have a number behind the name.
        (&config.log.dir, "/events.jsonl"),
    ];
    paths.extend(
        config
            .policy
            .paths
            .iter()
            .map(|path| (path.as_path(), BELOW)),
    );
    // Who may write there ends the sensor, stops it or starves it. Above it, that is service managers' and runtimes' work.
    let cgroups = own_cgroups();
    let levels = (0..).map(|level| if level == 0 { BELOW } else { "/cgroup.kill" });
    paths.extend(cgroups.iter().map(PathBuf::as_path).zip(levels));
    let each = paths.into_iter();
    each.filter_map(|(path, below)| Protected::new(path, below))
        .collect()
}

/// The path of the sensor's cgroup (cgroups(7)), v2 alone.
fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    parse_cgroup(&text).unwrap_or_default().to_owned()
}

/// Directories of the sensor's cgroup and of those that it is in, from the innermost on; not of the first, which has
/// neither limits nor an end (Documentation/admin-guide/cgroup-v2.rst).
fn own_cgroups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(own_cgroup().trim_start_matches('/'));
    let levels = own.ancestors().take_while(|it| *it != root);
    // Without this file the hierarchy is mounted elsewhere.
    let levels = levels.filter(|it| it.join("cgroup.procs").exists());
    levels.map(Path::to_owned).collect()
}

fn document(config: &Config, executable: &Path, file: &Path) -> Value {
    let protected = protected(config, executable, file);
    let touches = |field: &str| {
        let each: Vec<_> = protected.iter().map(|it| it.is(field)).collect();
        each.join(" || ")
    };
    // Moving or unmounting one of these takes away what is below it.
    let above = protected
        .iter()
        .flat_map(|it| it.path.ancestors().skip(1))
        .filter(|path| path.parent().is_some());
    let above: Vec<_> = above.map(named).collect();
    let managers: Vec<_> = config.own.managers.iter().map(|path| named(path)).collect();
    // What is in a container has any path it likes.
    let other = "!(process.executable in lists.own && container.id in lists.places) && \
                 !(process.executable in lists.managers && container.id == '')";
    let mut places = vec![String::new()];
    places.extend(container_of(&own_cgroup()));
    let rule = |id: &str, on: &[&str], when: &str, what: &str| {
        json!({
            "id": id, "on": on, "when": when, "action": "deny",
            "severity": "critical", "mitre": ["T1562.001"],
            "message": format!("{{{{process.executable}}}} (pid {{{{process.pid}}}}, user {{{{process.user.id}}}}) {what}"),
        })
    };
    let target = "holdfast.target.executable in lists.own";
    let (path, new) = (touches("file.path"), touches("file.target_path"));
    let changes = [
        "file.create",
        "file.delete",
        "file.symlink",
        "file.chmod",
        "file.chown",
        "file.truncate",
        "file.mkdir",
        "file.rmdir",
        "file.setxattr",
    ];
    let mut rules = vec![
        rule(
            "signal",
            &["process.signal"],
            target,
            "sent {{holdfast.signal}} to the sensor",
        ),
        rule(
            "trace",
            &["process.ptrace"],
            target,
            "took hold of the sensor",
        ),
        rule(
            "memory-written",
            &["memory.process_write"],
            target,
            "wrote to the sensor's memory",
        ),
        rule(
            "starved",
            &["process.rlimit", "process.setscheduler"],
            target,
            "changed what the sensor may use ({{event.action}})",
        ),
        rule(
            "file-opened",
            &["file.open"],
            &format!("('O_WRONLY' in holdfast.flags || 'O_RDWR' in holdfast.flags) && ({path})"),
            "opened {{file.path}} of the sensor to write",
        ),
        rule(
            "file-changed",
            &changes,
            &path,
            "changed {{file.path}} of the sensor ({{event.action}})",
        ),
        rule(
            "file-moved",
            &["file.rename", "file.link"],
            &format!("{path} || {new} || file.path in lists.above"),
            "moved {{file.path}} to {{file.target_path}}, and one of them is the sensor's ({{event.action}})",
        ),
        // Whose /usr/bin it is in a container does not matter to the sensor.
        rule(
            "mounted-over",
            &["file.mount"],
            &format!("{path} || (file.path in lists.above && container.id == '')"),
            "mounted over {{file.path}}, where files of the sensor are",
        ),
        rule(
            "unmounted",
            &["file.umount"],
            &format!("{path} || file.path in lists.above"),
            "unmounted {{file.path}}, where files of the sensor are",
        ),
    ];
    // Whose it is, only the kernel knows: others than the sensor have maps, too.
    let mut by_number = rule(
        "maps-opened",
        &["kernel.bpf"],
        "holdfast.bpf.command in ['BPF_MAP_GET_FD_BY_ID', 'BPF_PROG_GET_FD_BY_ID', 'BPF_LINK_GET_FD_BY_ID']",
        "took hold of a kernel program, map or link by its number ({{holdfast.bpf.command}})",
    );
    by_number["action"] = "alert".into();
    by_number["severity"] = "high".into();
    rules.push(by_number);
    json!({
        "apiVersion": "holdfast/v1", "kind": "Policy", "name": NAME,
        "description": "Keeps others from the sensor's process, files and pins", "scope": other,
        "lists": {"own": [named(executable)], "places": places, "managers": managers, "above": above},
        "rules": rules,
    })
}

/// A path as events have it.
fn named(path: &Path) -> String {
    text::path(path.as_os_str().as_bytes()).into_owned()
}

/// A path, and what follows, as a literal of an expression.
fn quoted(path: &Path, below: &str) -> String {
    // JSON's escapes are among CEL's.
    Value::from(format!("{}{below}", named(path))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;
    use holdfast_policy::compile::{Options, compile};
    use holdfast_policy::field::Kinds;

    /// Where it may refuse, it does so in the kernel: in user space it would be too late.
    #[test]
    fn the_kernel_decides_all_that_is_refused() {
        let flag = |key: &str, value: &str| crate::config::Given::by_flag("test", key, value);
        let inputs = Inputs {
            file: Some("/dev/null".into()),
            flags: vec![
                flag("self.protect", "true"),
                flag("state.dir", "/var/lib/it's \"quoted\""),
            ],
        };
        let config = inputs.load().unwrap();
        let policy = policy(&config, Path::new("/dev/null"), Mode::Enforce)
            .unwrap()
            .unwrap();
        let options = Options {
            epoch: 1,
            mode: Mode::Enforce,
            reported: Kinds::NONE,
        };
        let explained = serde_json::to_value(compile(&[policy], &options).unwrap().explain());
        for rule in explained.unwrap()["rules"].as_array().unwrap() {
            for hook in rule["hooks"].as_array().unwrap() {
                let decides = hook["decided"] == "kernel";
                assert_eq!(decides, rule["id"] != "maps-opened", "{rule}");
            }
        }
    }
}
