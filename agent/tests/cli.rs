//! The binary as scripts see it: exit codes, and one line of error that says what to do. Nothing
//! here needs root or a kernel.
// Clippy knows tests by their attribute, which the helpers here do not have.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// `holdfast` with nothing of this machine's configuration, and a control socket that nobody has.
fn holdfast(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .args(arguments)
        .env_clear()
        .env("RUST_BACKTRACE", "full")
        .env(
            "HOLDFAST_OPT_CONTROL_SOCKET",
            directory.join("control.sock"),
        )
        .env("HOLDFAST_OPT_LOG_DIR", directory.join("log"))
        .env("HOLDFAST_OPT_POLICY_PATHS", directory.join("policies"));
    command
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("policies")).unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        holdfast(self.0.path(), arguments).output().unwrap()
    }

    /// Asserts success, and returns stdout.
    fn fine(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.fine(arguments)).unwrap()
    }

    /// Asserts the exit code, and one line on stderr with all of `words`.
    fn refused(&self, arguments: &[&str], code: i32, words: &[&str]) {
        assert_refused(&self.run(arguments), arguments, code, words);
    }
}

fn assert_refused(output: &Output, arguments: &[&str], code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("holdfast: "), "{arguments:?}: {stderr}");
    for word in words {
        assert!(
            stderr.contains(word),
            "{arguments:?} does not say {word:?}: {stderr}"
        );
    }
}

const POLICY: &str = r#"{"apiVersion":"holdfast/v1","kind":"Policy","name":"p","mode":"enforce","rules":[
    {"id":"shadow","on":["file.open"],"when":"file.path == '/etc/shadow'","action":"deny"}]}"#;

#[test]
fn wrong_use_is_exit_code_2() {
    let place = Place::new();
    place.refused(&["polcy"], 2, &["polcy", "policy", "--help"]);
    place.refused(&["status", "--jsn"], 2, &["--jsn", "--json"]);
    place.refused(
        &["run", "--mode", "enforced"],
        2,
        &["--mode", "enforced", "\"enforce\""],
    );
    place.refused(
        &["run", "--tier", "fanotfy"],
        2,
        &["--tier", "\"fanotify\""],
    );
    place.refused(&["run", "--events", "process.exce"], 2, &["process.exec"]);
    place.refused(&["run", "--set", "mode"], 2, &["KEY=VALUE"]);
    place.refused(
        &["run", "--set", "mod=observe"],
        2,
        &["--set", "\"mod\"", "\"mode\""],
    );
    place.refused(&["config", "get", "log.dri"], 2, &["log.dri", "log.dir"]);
    place.refused(
        &["events", "--since", "yesterday"],
        2,
        &["yesterday", "10m"],
    );
    place.refused(
        &["events", "--filter", "file.pth == 'x'"],
        2,
        &["file.pth", "file.path"],
    );
    place.refused(&["replay"], 2, &["<FILE>"]);
    place.refused(&["namespace"], 2, &["namespaces"]);
}

#[test]
fn a_bad_configuration_names_its_place() {
    let place = Place::new();
    for (text, words) in [
        (
            "mode = 7",
            [
                "c.toml:1:8: mode: expected one of observe, enforce",
                "found 7",
            ],
        ),
        ("\n[log]\nlevl = 'info'", ["c.toml:3:1", "log.level"]),
        ("[log]\nfiles = '3'", ["c.toml:2:9", "whole number"]),
        ("mode = ", ["c.toml:1:", ""]),
    ] {
        let file = place.file("c.toml", text);
        for command in [
            &["run", "--config", &file][..],
            &["config", "show", "--config", &file],
        ] {
            place.refused(command, 2, &words);
        }
    }
    place.refused(
        &["run", "--config", "/nonexistent.toml"],
        2,
        &["/nonexistent.toml", "/dev/null"],
    );
    let output = holdfast(place.0.path(), &["config", "show"])
        .env("HOLDFAST_OPT_TEIR", "lsm")
        .output()
        .unwrap();
    assert_refused(
        &output,
        &["config", "show"],
        2,
        &["HOLDFAST_OPT_TEIR", "HOLDFAST_OPT_TIER"],
    );
}

#[test]
fn without_a_sensor_commands_say_so_with_exit_code_3() {
    let place = Place::new();
    for command in [
        &["status"][..],
        &["status", "--check", "--json"],
        &["events"],
        &["events", "--follow"],
        &["events", "--since", "1h"],
        &["actors"],
        &["policy", "list"],
        &["policy", "reload"],
        &["stop"],
    ] {
        place.refused(command, 3, &["not running", "holdfast run"]);
    }
}

#[test]
fn configuration_shows_values_and_sources() {
    let place = Place::new();
    let file = place.file("c.toml", "[log]\nfiles = 2\n");
    let shown = place.json(&[
        "config",
        "show",
        "--effective",
        "--json",
        "--config",
        &file,
        "--set",
        "mode=enforce",
    ]);
    let of = |key: &str| (shown[key]["value"].clone(), shown[key]["source"].clone());
    assert_eq!(of("log.files"), (2.into(), "file".into()));
    assert_eq!(of("mode"), ("enforce".into(), "flag".into()));
    assert_eq!(of("tier"), ("auto".into(), "default".into()));
    assert_eq!(of("log.dir").1, "env");
    assert!(
        place
            .json(&["config", "show", "--json"])
            .get("tier")
            .is_none()
    );
    assert_eq!(place.fine(&["config", "get", "output"]), "pretty\n");
    assert!(
        place
            .fine(&["config", "show", "--effective"])
            .contains("kernel.file_ring")
    );
}

#[test]
fn policies_are_checked_explained_and_tested() {
    let place = Place::new();
    let good = place.file("policies/good.json", POLICY);
    place.file(
        "policies/good.test.json",
        r#"{"policy":"good.json","tests":[
        {"name":"reads","event":{"event":{"action":"file.open"},"file":{"path":"/etc/shadow"}},
         "expect":{"rule":"shadow","action":"deny"}}]}"#,
    );
    assert!(place.fine(&["policy", "check", &good]).contains("1 rules"));
    assert_eq!(place.json(&["policy", "check", "--json"])["ok"], true);
    let many: Vec<Value> = (0..300)
        .map(|it| {
            json!({"id": format!("r{it}"), "on": ["file.open"], "action": "deny",
                   "when": format!("file.path == '/{it}' && process.executable == '/x'")})
        })
        .collect();
    let many =
        json!({"apiVersion": "holdfast/v1", "kind": "Policy", "name": "many", "rules": many});
    let many = place.file("many.json", &many.to_string());
    let said = place.fine(&["policy", "check", &many]);
    assert!(
        said.contains("file.open: the kernel has no room for 46 rules")
            && said.contains(": many/r254, many/r255, ")
            && said.ends_with(" and 36 more\n"),
        "{said}"
    );
    let explained = place.json(&["policy", "explain", &good, "--json"]);
    assert_eq!(explained["rules"][0]["id"], "shadow");
    assert_eq!(explained["rules"][0]["hooks"][0]["decided"], "kernel");
    assert!(place.fine(&["policy", "explain"]).contains("lsm: blocked"));
    assert!(
        place
            .fine(&["policy", "test"])
            .contains("1 tests passed, 0 failed")
    );

    place.file(
        "policies/good.test.json",
        r#"{"policy":"good.json","tests":[
        {"name":"reads","event":{"event":{"action":"file.open"},"file":{"path":"/etc/passwd"}},
         "expect":{"rule":"shadow"}}]}"#,
    );
    place.refused(&["policy", "test"], 1, &["good.test.json", "reads"]);
    let bad = place.file("bad.json", &POLICY.replace("file.path", "file.pth"));
    place.refused(
        &["policy", "check", &bad],
        1,
        &["bad.json:2:", "file.pth", "file.path"],
    );
    place.refused(&["policy", "explain", &bad], 1, &["file.pth"]);
    let worse = place.file("worse.json", &POLICY.replace("\"when\"", "\"whenn\""));
    place.refused(&["policy", "check", &worse], 1, &["worse.json:2:", "whenn"]);
    place.refused(
        &["policy", "check", "/nonexistent.json"],
        1,
        &["/nonexistent.json"],
    );
    let output = place.run(&["policy", "check", &bad, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["ok"].clone(), report["errors"][0]["line"].clone()),
        (false.into(), 2.into())
    );
}

#[test]
fn sigma_rules_become_a_policy_and_what_cannot_is_said() {
    let place = Place::new();
    let rule = |title: &str, field: &str| {
        format!(
            "title: {title}\nlogsource:\n    product: linux\n    category: process_creation\n\
             detection:\n    s:\n        {field}: '/bin/x'\n    condition: s\n"
        )
    };
    std::fs::create_dir(place.path("sigma")).unwrap();
    place.file("sigma/a.yml", &rule("Good", "Image"));
    place.file("sigma/b.yaml", &rule("Bad", "Hashes"));
    place.file("sigma/readme.md", "not looked at");
    let directory = place.path("sigma").display().to_string();
    let words = ["policy", "import", "--sigma", &directory, "--name", "mine"];
    let output = place.run(&words);
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = "b.yaml: \"Bad\": no event has a field like `Hashes`\nholdfast: 1 rules were imported, 1 left out\n";
    assert!(stderr.ends_with(said), "{stderr}");
    let policy = String::from_utf8(output.stdout).unwrap();
    let policy = place.file("mine.json", &policy);
    assert_eq!(
        place.fine(&["policy", "check", &policy]),
        format!("{policy}: 1 rules\n")
    );
    let bad = place.path("sigma/b.yaml").display().to_string();
    let output = place.run(&["policy", "import", "--sigma", &bad]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.ends_with("no rule could be imported; 1 were left out\n"),
        "{stderr}"
    );
    place.refused(&["policy", "import"], 2, &["--sigma"]);
    place.refused(
        &["policy", "import", "--sigma", "/nonexistent.yml"],
        1,
        &["cannot read /nonexistent.yml"],
    );
}

#[test]
fn containers_are_listed_without_a_sensor_and_without_an_engine() {
    let place = Place::new();
    let socket = format!("runtime.docker={}", place.file("nobody.sock", ""));
    let words = ["containers", "--set", &socket, "--json"];
    let output = place.run(&words);
    assert_eq!(output.status.code(), Some(0));
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(listing["containers"].is_array(), "{listing}");
    let error = listing["errors"][0].as_str().unwrap();
    assert!(error.contains("nobody.sock"), "{error}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("an engine does not answer"), "{stderr}");
    let nowhere = ["containers", "--set", "runtime.docker=/nonexistent.sock"];
    assert!(place.fine(&nowhere).starts_with("CONTAINER"));
}

#[test]
fn the_event_log_is_read_without_a_sensor() {
    let place = Place::new();
    std::fs::create_dir(place.path("log")).unwrap();
    let event = |hour: u32, action: &str, path: &str| {
        format!(
            r#"{{"@timestamp":"2026-11-22T{hour:02}:00:00.000000000Z","event":{{"id":"{hour}","action":"{action}"}},"file":{{"path":"{path}"}}}}"#
        ) + "\n"
    };
    place.file("log/events.jsonl.1", &event(1, "file.open", "/a"));
    let cut = event(4, "file.open", "/d");
    let current = event(2, "file.open", "/b") + &event(3, "file.delete", "/c") + &cut[..40];
    place.file("log/events.jsonl", &current);
    let lines = |arguments: &[&str]| place.fine(arguments).lines().count();
    assert_eq!(lines(&["events", "--since", "2026-11-22", "--json"]), 3);
    assert_eq!(lines(&["events", "--since", "2026-11-22T02:00"]), 2);
    let filtered = [
        "events",
        "--since",
        "2026-11-22",
        "--filter",
        "event.action == 'file.delete'",
    ];
    let shown = place.fine(&filtered);
    assert!(
        shown.contains("file.delete") && shown.contains("/c") && !shown.contains("/b"),
        "{shown}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    std::fs::create_dir(place.path("log")).unwrap();
    let line = "{\"@timestamp\":\"2026-11-22T01:00:00Z\",\"event\":{\"action\":\"file.open\"}}\n";
    place.file("log/events.jsonl", &line.repeat(100_000));
    let mut child = holdfast(place.0.path(), &["events", "--since", "2026-01-01"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn help_and_version() {
    let place = Place::new();
    assert!(place.fine(&["--help"]).contains("Exit codes"));
    for command in [
        &["run"][..],
        &["doctor"],
        &["status"],
        &["events"],
        &["actors"],
        &["stop"],
        &["version"],
        &["policy", "check"],
        &["policy", "explain"],
        &["policy", "test"],
        &["policy", "list"],
        &["policy", "reload"],
        &["config", "show"],
        &["config", "get"],
    ] {
        let help = place.fine(&[command, &["--help"]].concat());
        assert!(help.contains("Examples:"), "{command:?}: {help}");
    }
    assert!(place.fine(&["version"]).starts_with("holdfast 0."));
    assert!(place.json(&["version", "--json"])["version"].is_string());
}
