//! Paths as the kernel, the process and the host see them, of any bytes and any length.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{EVENT, Scenario};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{Events, action, text};
use crate::place::{Place, Variant};
use crate::sensor::Sensor;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "path-views",
        about: "paths across bind mounts, chroots and mount namespaces: the process's and the host's; not \
                UTF-8, deleted",
        at: has_paths,
        seconds: 60,
        run: views,
    },
    Scenario {
        name: "path-names",
        about: "a rule on a path finds what is called otherwise where it comes from: files and directories that \
                are mounted there, hard links, files that were renamed, long names",
        at: has_paths,
        seconds: 60,
        run: names,
    },
    Scenario {
        name: "path-overlay",
        about: "an open on overlayfs is one event, and an executable from the upper layer is known as that",
        at: has_paths,
        seconds: 60,
        run: overlay,
    },
    Scenario {
        name: "path-long",
        about: "paths of 4,000 bytes and of 1,500 names are whole; of a longer one the end is kept, and said so",
        at: has_paths,
        seconds: 60,
        run: long,
    },
];

/// Where the kernel programs know the structs that paths are in.
pub fn has_paths(place: &Place) -> bool {
    !place.is_variant(Variant::NoBtf) && !place.is_variant(Variant::Preempt)
}

/// A sensor that tells of every open.
fn watching(bench: &Bench) -> Result<Sensor<'_>> {
    let actions = "process.exec,file.open,file.create";
    bench.sensor().option("events", actions).start()
}

/// The event of the open of this path.
fn opened(events: &Events, path: &str) -> Result<Value> {
    events.wait_for(&format!("the open of {path}"), EVENT, |event| {
        action(event) == "file.open" && text(event, "/file/path") == path
    })
}

fn shell(bench: &Bench, script: &str) -> Result<()> {
    let ended = bench.busybox(&["sh", "-c", script]).output_within(EVENT)?;
    ended.with_code(0).with_context(|| script.to_owned())?;
    Ok(())
}

fn view<'e>(event: &'e Value, what: &str) -> &'e str {
    text(event, &format!("/holdfast/path/{what}"))
}

fn make(bench: &Bench, name: &str) -> Result<String> {
    let path = bench.path(name);
    fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    fs::write(path.join("file"), "x").context("write a file")?;
    Ok(path.display().to_string())
}

fn views(bench: &Bench) -> Result<()> {
    let source = make(bench, "source")?;
    let jail = make(bench, "jail")?;
    let point = make(bench, "point")?;
    let other = make(bench, "other")?;
    let busybox = "/bin/busybox";
    let sensor = watching(bench)?;
    let events = &sensor.events;

    // In one mount namespace the path is the one that was gone.
    shell(
        bench,
        &format!("mount --bind {source} {point} && cat {point}/file && umount {point}"),
    )?;
    let event = opened(events, &format!("{point}/file"))?;
    ensure!(
        event.pointer("/holdfast/path").is_none(),
        "nothing is to be said of it: {event}"
    );

    // A process in a chroot, and one that got out of it.
    bench
        .act(&["read-in-chroot", &jail, "/file"])
        .output_within(EVENT)?
        .with_code(0)?;
    let event = opened(events, &format!("{jail}/file"))?;
    ensure!(view(&event, "process") == "/file", "{event}");
    bench
        .act(&["read-out-of-chroot", &jail, &source, "file"])
        .output_within(EVENT)?
        .with_code(0)?;
    let event = opened(events, &format!("{source}/file"))?;
    ensure!(
        event.pointer("/holdfast/path/outside_root") == Some(&Value::Bool(true)),
        "it is outside of the chroot: {event}"
    );

    // Another mount namespace, of which a process is left while the event is made.
    let script = format!("mount --bind {source} {other} && cat {other}/file && sleep 3");
    shell(
        bench,
        &format!("{busybox} unshare -m {busybox} sh -c '{script}'"),
    )?;
    let event = opened(events, &format!("{other}/file"))?;
    ensure!(
        view(&event, "host") == format!("{source}/file"),
        "the host sees {source}/file: {event}"
    );

    // Bytes that are not UTF-8, and the text that looks like them.
    for (name, shown) in [(&b"caf\xe9"[..], r"caf\xe9"), (br"caf\xe9", r"caf\x5cxe9")] {
        let path = bench.path("source").join(OsStr::from_bytes(name));
        fs::write(&path, "x").context("write a file")?;
        let mut cat = bench.busybox(&["cat"]);
        cat.arg(&path).output_within(EVENT)?.with_code(0)?;
        opened(events, &format!("{source}/{shown}"))?;
    }

    // A file whose name is gone.
    let gone = format!("{source}/gone");
    shell(
        bench,
        &format!("echo x > {gone}; exec 3< {gone}; rm {gone}; cat /proc/self/fd/3"),
    )?;
    let deleted = events.wait_for("the open of a deleted file", EVENT, |event| {
        let flag = event.pointer("/holdfast/path/deleted");
        text(event, "/file/path") == gone && flag == Some(&Value::Bool(true))
    })?;
    ensure!(action(&deleted) == "file.open", "{deleted}");
    sensor.stop().map(drop)
}

/// An overlay with a file in either layer and a directory in the lower one.
fn mount_overlay(bench: &Bench) -> Result<PathBuf> {
    bench.need_file_system("overlay")?;
    // Not on what may be an overlay itself, which makes no upper layer.
    let base = bench.path("layers");
    fs::create_dir_all(&base).context("create a directory")?;
    shell(bench, &format!("mount -t tmpfs tmpfs {}", base.display()))?;
    for name in ["lower/directory", "upper", "work", "merged"] {
        fs::create_dir_all(base.join(name)).context("create a layer")?;
    }
    fs::write(base.join("lower/from-image"), "x").context("write a file")?;
    fs::write(base.join("lower/changed"), "x").context("write a file")?;
    fs::copy("/bin/busybox", base.join("lower/busybox-image")).context("copy busybox")?;
    let at = base.display();
    let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
    shell(
        bench,
        &format!("mount -t overlay -o {options} overlay {at}/merged"),
    )?;
    fs::copy("/bin/busybox", base.join("merged/busybox-new")).context("copy busybox")?;
    Ok(base)
}

fn overlay(bench: &Bench) -> Result<()> {
    let base = mount_overlay(bench)?;
    let result = watch_overlay(bench, &base);
    let at = base.display();
    shell(bench, &format!("umount {at}/merged; umount {at}"))?;
    result
}

fn watch_overlay(bench: &Bench, base: &Path) -> Result<()> {
    let sensor = watching(bench)?;
    let merged = base.join("merged").display().to_string();
    // Read from below, written so that it is copied up, and a directory.
    shell(
        bench,
        &format!("cat {merged}/from-image; echo y >> {merged}/changed; ls {merged}/directory"),
    )?;
    for program in ["busybox-image", "busybox-new"] {
        Command::new(format!("{merged}/{program}"))
            .arg("true")
            .output_within(EVENT)?
            .with_code(0)?;
    }
    let last = format!("{merged}/busybox-new");
    let exec = |event: &Value| {
        action(event) == "process.exec" && text(event, "/process/executable") == last
    };
    let new = sensor.events.wait_for("the last exec", EVENT, exec)?;
    let image = sensor.events.wait_for("the first exec", EVENT, |event| {
        text(event, "/process/executable") == format!("{merged}/busybox-image")
    })?;
    let upper = |event: &Value| event.pointer("/holdfast/executable/upper_layer").cloned();
    ensure!(
        upper(&new) == Some(Value::Bool(true)),
        "not from the image: {new}"
    );
    ensure!(
        upper(&image) == Some(Value::Bool(false)),
        "from the image: {image}"
    );
    let events = sensor.stop()?;
    for name in ["from-image", "changed", "directory"] {
        let ours = events.matching(|event| {
            action(event) == "file.open" && text(event, "/file/path").ends_with(&format!("/{name}"))
        });
        let paths: Vec<&str> = ours.iter().map(|event| text(event, "/file/path")).collect();
        ensure!(
            paths == [format!("{merged}/{name}")],
            "{name} was opened once, the events are of {paths:?}"
        );
    }
    // Nobody opened the layers.
    let below = events.matching(|event| {
        let path = text(event, "/file/path");
        ["lower/", "upper/", "work/"]
            .iter()
            .any(|layer| path.contains(&format!("/layers/{layer}")))
    });
    ensure!(
        below.is_empty(),
        "opens behind the overlay are told: {below:?}"
    );
    Ok(())
}

/// The longest path that a process can give at once, without its NUL.
const LONGEST: usize = 4095;

fn long(bench: &Bench) -> Result<()> {
    let sensor = watching(bench)?;
    let base = bench.path("long").display().to_string();
    let wide = format!("/{}", "w".repeat(250));
    let names = (4000 - base.len() - "/file".len()) / wide.len();
    let paths = [
        format!("{base}{}/file", wide.repeat(names)),
        format!("{base}{}/file", "/d".repeat(1500)),
    ];
    for path in &paths {
        ensure!(path.len() <= LONGEST, "it can be opened at once");
        let directory = Path::new(path).parent().context("it has a directory")?;
        fs::create_dir_all(directory).context("create a deep directory")?;
        fs::write(path, "x").context("write a file")?;
        bench
            .act(&["read", path])
            .output_within(EVENT)?
            .with_code(0)?;
        let event = opened(&sensor.events, path)?;
        ensure!(
            event.pointer("/holdfast/truncated").is_none(),
            "it is whole: {}",
            event["holdfast"]
        );
    }

    // Longer than any path that can be given: entered step by step.
    let deep = bench.path("deep").display().to_string();
    let (name, depth) = ("n".repeat(200), "30");
    bench
        .act(&["read-deep", &deep, &name, depth])
        .output_within(EVENT)?
        .with_code(0)?;
    let event = sensor
        .events
        .wait_for("the open of the deep file", EVENT, |event| {
            action(event) == "file.open"
                && text(event, "/file/path").ends_with(&format!("/{name}/deep-file"))
        })?;
    let path = text(&event, "/file/path");
    ensure!(
        path.len() > LONGEST - name.len() - 1 && path.starts_with(&format!("/{name}/")),
        "as much of its end as there is room for, in whole names: {} bytes, {path:.80}",
        path.len()
    );
    ensure!(
        event.pointer("/holdfast/truncated/0") == Some(&Value::from("file.path")),
        "it is cut, and says so: {}",
        event["holdfast"]
    );
    sensor.stop()?;
    // std removes what is too deep for one path as well.
    fs::remove_dir_all(&deep).context("remove the deep directory")
}

/// Whether a rule asks for an open is decided by the last name of the path first, which is not always that of
/// the file.
fn names(bench: &Bench) -> Result<()> {
    let long = "n".repeat(200);
    let wanted = ["mounted", "directory", "link", "renamed", long.as_str()];
    let path = |name: &str| bench.path(name).display().to_string();
    let rules: Vec<Value> = wanted
        .iter()
        .map(|name| {
            json!({"id": name[..4], "on": ["file.open"], "action": "alert",
                   "when": format!("file.path == '{}'", path(name))})
        })
        .collect();
    let policy = bench.policy("names", &json!(rules))?;
    for name in ["source", "mounted", "other", "before", &long] {
        bench.file(name, "x")?;
    }
    for name in ["elsewhere", "directory"] {
        fs::create_dir(bench.path(name)).context("make a directory")?;
    }
    let sensor = bench
        .sensor()
        .policy(&policy)
        .option("events", "")
        .start()?;
    let [source, mounted, elsewhere, directory] =
        ["source", "mounted", "elsewhere", "directory"].map(path);
    let [other, link, before, renamed] = ["other", "link", "before", "renamed"].map(path);
    let long = path(&long);
    shell(
        bench,
        &format!(
            "mount --bind {source} {mounted} && cat {mounted} && umount {mounted} && \
             mount --bind {elsewhere} {directory} && ls {directory} && umount {directory} && \
             ln {other} {link} && cat {link} && mv {before} {renamed} && cat {renamed} && cat {long}"
        ),
    )?;
    for name in wanted {
        sensor.events.wait_for(name, EVENT, |event| {
            text(event, "/rule/id") == &name[..4] && text(event, "/file/path") == path(name)
        })?;
    }
    sensor.stop().map(drop)
}
