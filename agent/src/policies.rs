//! Policies from files: found, read within bounds, and compiled together.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use holdfast_policy::compile::{self, Options, compile};
use holdfast_policy::derive;
use holdfast_policy::document::{MAX_BYTES, MAX_LIST_BYTES, Mode, Policy};
use holdfast_policy::error::{Problem, Problems};
use holdfast_policy::field::Kinds;
use holdfast_policy::snapshot::Snapshot;
use holdfast_wire::Kind;
use holdfast_wire::uplink::Bundle;
use serde::Serialize;

use crate::cli::Settings;
use crate::config::setting::DERIVE;
use crate::config::{Config, action};
use crate::failure::Failure;

/// Policy files at one time: far more than people write, and a bound for a wrong directory.
const MAX_FILES: usize = 1024;

/// What the names of files with policy tests end with.
const TEST_SUFFIX: &str = ".test.json";

/// Why policies are refused.
#[derive(Debug, thiserror::Error, Serialize)]
#[serde(untagged)]
pub(crate) enum PolicyError {
    /// A file or directory cannot be read.
    #[error("cannot read {file}: {reason}")]
    Read {
        /// Which.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// What is in it is wrong.
    #[error("{0}")]
    Wrong(#[from] Problem),
}

impl PolicyError {
    pub(crate) fn read(path: &Path, error: &io::Error) -> Self {
        Self::Read {
            file: path.display().to_string(),
            reason: error.to_string(),
        }
    }
}

/// The failure that these errors are.
pub(crate) fn refused(errors: &[PolicyError]) -> Failure {
    Failure::Refused(errors.iter().map(ToString::to_string).collect())
}

/// One policy file, and what became of it.
pub(crate) struct Checked {
    /// The file, as it was found.
    pub(crate) file: String,
    /// The policy in it, or what is wrong.
    pub(crate) policy: Result<Policy, Vec<PolicyError>>,
}

/// The paths that were given, or else the configured ones.
pub(crate) fn given_or_configured(paths: &[PathBuf], config: &Config) -> Vec<PathBuf> {
    if paths.is_empty() {
        config.policy_paths()
    } else {
        paths.to_vec()
    }
}

/// Reads every policy that `paths` name; a bad one does not stop the others.
///
/// # Errors
/// When a path cannot be read, or there are too many files.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Checked>, PolicyError> {
    let checked = |path: &PathBuf| Checked {
        file: path.display().to_string(),
        policy: read_one(path),
    };
    Ok(find_all(paths, is_policy)?.iter().map(checked).collect())
}

/// The files that `paths` name, and of directories those in them that are `wanted`.
///
/// # Errors
/// When a path cannot be read, or there are too many files.
pub(crate) fn find_all(
    paths: &[PathBuf],
    wanted: fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, PolicyError> {
    let mut files = Vec::new();
    for path in paths {
        find(path, wanted, &mut files)?;
    }
    Ok(files)
}

/// Adds the file at `path`, or those in the directory there in the order of their names.
fn find(
    path: &Path,
    wanted: fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), PolicyError> {
    let failed = |error: io::Error| PolicyError::read(path, &error);
    if fs::metadata(path).map_err(failed)?.is_dir() {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            // Something that is no file (a pipe would block) is not looked into.
            if wanted(&file) && file.is_file() {
                found.push(file);
            }
            if files.len() + found.len() > MAX_FILES {
                break;
            }
        }
        found.sort();
        files.extend(found);
    } else {
        files.push(path.to_owned());
    }
    if files.len() > MAX_FILES {
        let reason = format!("more than {MAX_FILES} files");
        return Err(PolicyError::Read {
            file: path.display().to_string(),
            reason,
        });
    }
    Ok(())
}

fn is_policy(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".json") && !name.ends_with(TEST_SUFFIX) && !name.starts_with('.')
}

/// Whether this is a file of policy tests.
pub(crate) fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(TEST_SUFFIX) && !name.starts_with('.')
}

/// Reads and checks the policy at `path`.
///
/// # Errors
/// When it cannot be read; else everything that is wrong with it.
pub(crate) fn read_one(path: &Path) -> Result<Policy, Vec<PolicyError>> {
    let text = read_bounded(path, MAX_BYTES).map_err(|error| vec![error])?;
    // As in most languages with includes: what is named stands beside who names it.
    let mut list_file =
        |name: &str| read_list(&path.with_file_name(name)).map_err(|error| error.to_string());
    Policy::parse_with(&path.display().to_string(), &text, &mut list_file).map_err(all)
}

/// Reads a file up to one byte more than `most`, which is enough to refuse a larger one.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, PolicyError> {
    bounded(path, most).map_err(|error| PolicyError::read(path, &error))
}

/// Reads the file of a list.
fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    // It would wait for whoever writes into it. A policy may be one: a shell gives `<(command)` so.
    if fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe"));
    }
    bounded(path, MAX_LIST_BYTES)
}

/// Reads a file up to one byte more than `most`.
fn bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Each problem by itself.
pub(crate) fn all(problems: Problems) -> Vec<PolicyError> {
    problems.0.into_iter().map(PolicyError::Wrong).collect()
}

/// Policies that are good, each by itself and together.
pub(crate) struct Set {
    /// What the sensor decides by.
    pub(crate) snapshot: Snapshot,
    /// What `policy list` shows.
    pub(crate) summaries: Vec<Summary>,
}

/// A policy in force, as `policy list` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Its name.
    pub(crate) name: String,
    /// The mode it asks for; the sensor's caps it.
    pub(crate) mode: &'static str,
    /// Rules in it.
    pub(crate) rules: usize,
    /// Where it was read from.
    pub(crate) file: String,
}

/// Reads the policies that `paths` name, and compiles them, the sensor's `own` and those of a `bundle`, as number `epoch`.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn load(
    paths: &[PathBuf],
    own: Option<Policy>,
    bundle: Option<&Bundle>,
    config: &Config,
    epoch: u32,
) -> Result<Set, Vec<PolicyError>> {
    let mut policies = Vec::from_iter(own);
    let mut errors = Vec::new();
    for checked in read(paths).map_err(|error| vec![error])? {
        match checked.policy {
            Ok(policy) => policies.push(policy),
            Err(wrong) => errors.extend(wrong),
        }
    }
    for policy in bundle.into_iter().flat_map(of_bundle) {
        match policy {
            Ok(policy) => policies.push(policy),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    together(&policies, config, epoch)
}

/// The policies of a bundle; they come after those of files, so that of two with one name it is the bundle's that is
/// refused.
fn of_bundle(bundle: &Bundle) -> impl Iterator<Item = Result<Policy, Vec<PolicyError>>> {
    bundle.policies.iter().map(|policy| {
        let file = format!("bundle {}, {}", bundle.version, policy.file);
        let mut no_files = |name: &str| Err(format!("a bundle has no files of lists, as {name}"));
        Policy::parse_with(&file, policy.document.get().as_bytes(), &mut no_files).map_err(all)
    })
}

/// What a command judges by: the policies that were given to it, or else the configured ones.
///
/// # Errors
/// When the configuration is bad, or a policy is.
pub(crate) fn of_command(paths: &[PathBuf], settings: &Settings) -> Result<Set, Failure> {
    let config = settings.inputs().load()?;
    let paths = given_or_configured(paths, &config);
    load(&paths, None, None, &config, 0).map_err(|errors| refused(&errors))
}

/// Compiles policies that are good by themselves.
///
/// # Errors
/// What is wrong with them together.
pub(crate) fn together(
    policies: &[Policy],
    config: &Config,
    epoch: u32,
) -> Result<Set, Vec<PolicyError>> {
    let options: compile::Options = Options {
        epoch,
        mode: mode(config),
        reported: reported(config),
    };
    let snapshot = compile(policies, &options).map_err(all)?;
    let summaries = policies
        .iter()
        .map(|policy| Summary {
            name: policy.name.clone(),
            mode: policy.mode.name(),
            rules: policy.rules.len(),
            file: policy.file.clone(),
        })
        .collect();
    Ok(Set {
        snapshot,
        summaries,
    })
}

/// The sensor's mode.
pub(crate) fn mode(config: &Config) -> Mode {
    if config.mode == Mode::Enforce.name() {
        Mode::Enforce
    } else {
        Mode::Observe
    }
}

/// The kinds that are reported without a rule.
fn reported(config: &Config) -> Kinds {
    let asked = kinds(&config.events.report);
    if config.mode == DERIVE {
        asked.or(derive::KINDS)
    } else {
        asked
    }
}

/// The kinds that any of the globs matches.
pub(crate) fn kinds(globs: &[String]) -> Kinds {
    let asked = |kind: &Kind| {
        globs
            .iter()
            .any(|glob| action::matches(glob, kind.action()))
    };
    Kind::ALL.iter().copied().filter(asked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_give_policies_without_their_tests_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "a.test.json", "readme.md", ".c.json"] {
            fs::write(directory.path().join(name), "{}").unwrap();
        }
        let mut files = Vec::new();
        find(directory.path(), is_policy, &mut files).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["a.json", "b.json"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = read(&["/nonexistent/x.json".into()])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("cannot read /nonexistent/x.json: No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_huge_file_is_refused_without_being_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.json");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read_one(&path).is_err());
    }

    #[test]
    fn globs_select_kinds() {
        let kinds = kinds(&["file.*".into(), "process.exec".into(), "kernel.*".into()]);
        assert!(kinds.contains(Kind::FileOpen) && kinds.contains(Kind::ProcessExec));
        assert!(!kinds.contains(Kind::ProcessExit));
    }
}
