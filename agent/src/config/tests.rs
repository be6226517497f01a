use super::*;
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn layers(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Layers, ConfigError> {
    let file = file(text);
    let inputs = Inputs {
        file: Some(file.path().into()),
        flags: flags
            .iter()
            .map(|(key, text)| Given::by_flag("--set", key, *text))
            .collect(),
    };
    inputs.layers_with(
        environment
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into())),
    )
}

/// The error, with the file's random name taken out.
fn error(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    let error = layers(text, environment, flags).unwrap_err().to_string();
    match error.split_once(".tmp") {
        Some((_, rest)) => rest.split_once(':').unwrap().1.to_owned(),
        None => error,
    }
}

fn value(layers: &Layers, key: &str) -> (String, &'static str) {
    let resolved = layers.get(key).unwrap();
    (
        resolved.value.as_str().unwrap_or_default().to_owned(),
        resolved.source.name(),
    )
}

#[test]
fn the_table_and_the_structs_agree() {
    let config = Config::from_layers(&Layers::defaults().unwrap()).unwrap();
    assert_eq!(config.mode, "observe");
    assert_eq!(config.log.max_size, 64 << 20);
    assert_eq!(config.events.report.len(), 7);
    assert!(config.never_kill.is_empty());
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let mode = |text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        value(&layers(text, environment, flags).unwrap(), "mode")
    };
    let text = "mode = 'enforce'";
    assert_eq!(mode("", &[], &[]), ("observe".into(), "default"));
    assert_eq!(mode(text, &[], &[]), ("enforce".into(), "file"));
    assert_eq!(
        mode(text, &[("HOLDFAST_OPT_MODE", "observe")], &[]),
        ("observe".into(), "env")
    );
    let environment = [("HOLDFAST_OPT_MODE", "observe")];
    assert_eq!(
        mode(text, &environment, &[("mode", "enforce")]),
        ("enforce".into(), "flag")
    );
    assert_eq!(
        mode("", &[], &[("mode", "enforce"), ("mode", "observe")]),
        ("observe".into(), "flag")
    );
}

#[test]
fn sections_lists_and_sizes_are_read() {
    let text = "[log]\nmax_size = '2MiB'\nfiles = 3\n[events]\nreport = ['file.*']\n[policy]\npaths = ['a', '/b']\n";
    let config = Config::from_layers(&layers(text, &[], &[]).unwrap()).unwrap();
    assert_eq!((config.log.max_size, config.log.files), (2 << 20, 3));
    assert_eq!(config.events.report, ["file.*"]);
    assert_eq!(config.policy.paths, [Path::new("a"), Path::new("/b")]);
}

#[test]
fn dotted_keys_are_the_same_as_sections() {
    let layers = layers("log.level = 'debug'", &[], &[]).unwrap();
    assert_eq!(value(&layers, "log.level"), ("debug".into(), "file"));
}

#[test]
fn errors_say_where_and_what() {
    assert_eq!(
        error("\n[polcy]\npaths = []", &[], &[]),
        "2:2: there is no setting \"polcy.paths\" (did you mean \"policy.paths\"?)"
    );
    assert_eq!(
        error("[log]\nfiels = 1", &[], &[]),
        "2:1: there is no setting \"log.fiels\" (did you mean \"log.files\"?)"
    );
    assert_eq!(
        error("mode = 3", &[], &[]),
        "1:8: mode: expected one of observe, enforce, derive, found 3"
    );
    assert_eq!(
        error("[log]\nfiles = 'many'", &[], &[]),
        "2:9: log.files: expected a whole number from 0 to 1000, found \"many\""
    );
    assert_eq!(
        error("log = 3", &[], &[]),
        "1:7: log is a section: write [log] and its keys below it"
    );
    assert!(error("mode = ", &[], &[]).starts_with("1:"));
    assert!(!error("a = [\n'x'\nb", &[], &[]).contains('\n'));
}

#[test]
fn the_environment_is_checked_too() {
    assert_eq!(
        error("", &[("HOLDFAST_OPT_TEIR", "lsm")], &[]),
        "environment: no setting belongs to HOLDFAST_OPT_TEIR (did you mean \"HOLDFAST_OPT_TIER\"?)"
    );
    assert_eq!(
        error("", &[("HOLDFAST_OPT_TIER", "lsn")], &[]),
        "environment HOLDFAST_OPT_TIER: tier: expected one of auto, lsm, fmod_ret, fentry, kprobe, \
         tracepoint, fanotify, found \"lsn\" (did you mean \"lsm\"?)"
    );
}

#[test]
fn a_secret_is_shown_nowhere_and_used_all_the_same() {
    let layers = layers("uplink.key = 'verysecret'", &[], &[]).unwrap();
    let resolved = layers.get("uplink.key").unwrap();
    assert_eq!(resolved.shown(), "[redacted]");
    let shown = serde_json::to_string(resolved).unwrap();
    assert!(!shown.contains("verysecret"), "{shown}");
    let config = Config::from_layers(&layers).unwrap();
    assert_eq!(config.uplink.key.expose(), "verysecret");
    assert!(!format!("{config:?}").contains("verysecret"));
    let said = error("uplink.key = 31337", &[], &[]);
    assert!(!said.contains("31337"), "{said}");
}

#[test]
fn what_is_said_of_the_server_has_to_go_together() {
    let refused = |flags: &[(&str, &str)]| {
        let layers = layers("", &[], flags).unwrap();
        Config::from_layers(&layers).unwrap_err().to_string()
    };
    let said = refused(&[("uplink.url", "http://team.example")]);
    assert!(
        said.starts_with("--set: uplink.url: http:// is for this machine only"),
        "{said}"
    );
    let said = refused(&[
        ("uplink.url", "https://team.example"),
        ("uplink.client_key", "/k"),
    ]);
    assert!(said.contains("uplink.client_certificate"), "{said}");
    let said = error("uplink.url = 'team.example'", &[], &[]);
    assert!(
        said.contains("expected https://HOST[:PORT], found \"team.example\""),
        "{said}"
    );
}

#[test]
fn what_is_not_there_yet_is_said_so() {
    assert!(layers("host.netns = '/run/netns'", &[], &[]).is_ok());
    assert_eq!(
        error("", &[], &[("host.netns", "/x")]),
        "--set: host.netns: is not available in this version: leave it out"
    );
    assert_eq!(
        error("", &[("NET_NS", "/host/netns")], &[]),
        "environment NET_NS: host.netns: is not available in this version: leave it out"
    );
    assert!(layers("", &[("NET_NS", "")], &[]).is_ok());
    let host =
        |environment: &[(&str, &str)]| value(&layers("", environment, &[]).unwrap(), "host.fs").0;
    assert_eq!(host(&[("HOST_FS", "/host")]), "/host");
    assert_eq!(
        host(&[("HOLDFAST_OPT_HOST_FS", "/own"), ("HOST_FS", "/host")]),
        "/own"
    );
}

#[test]
fn a_missing_file_matters_only_when_it_was_asked_for() {
    let inputs = Inputs {
        file: Some("/nonexistent/config.toml".into()),
        flags: Vec::new(),
    };
    assert!(matches!(
        inputs.layers_with(std::iter::empty()),
        Err(ConfigError::Missing(_))
    ));
    let inputs = Inputs {
        file: Some("/dev/null".into()),
        flags: Vec::new(),
    };
    assert!(inputs.layers_with(std::iter::empty()).is_ok());
}

#[test]
fn drop_ins_come_after_the_file_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let more = directory.path().join("config.toml.d");
    std::fs::create_dir(&more).unwrap();
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(
        &path,
        "mode = 'enforce'\nlog.level = 'warn'\nlog.files = 1\n",
    );
    write(&more.join("20-site.toml"), "log.level = 'debug'");
    write(
        &more.join("10-group.toml"),
        "log.level = 'error'\nlog.files = 2\n",
    );
    write(&more.join("20-site.toml.old"), "nonsense");
    let inputs = Inputs {
        file: Some(path.clone()),
        flags: Vec::new(),
    };
    let layers = inputs.layers_with(std::iter::empty()).unwrap();
    let of = |key: &str| layers.get(key).unwrap().value.clone();
    assert_eq!(of("mode"), "enforce");
    assert_eq!(
        (of("log.level"), of("log.files")),
        ("debug".into(), 2.into())
    );
    let from = layers.get("log.level").unwrap().source.to_string();
    assert!(from.ends_with("config.toml.d/20-site.toml:1:13"), "{from}");

    write(&more.join("30-wrong.toml"), "mode = 'enfroce'");
    let error = inputs
        .layers_with(std::iter::empty())
        .unwrap_err()
        .to_string();
    assert!(error.contains("30-wrong.toml:1:8"), "{error}");
}
