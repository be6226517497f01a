//! The command line. Values of settings are checked by the configuration, so that a flag, an
//! environment variable and a file are refused with the same words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use holdfast_actors::namespace::Kind;

use crate::config::{Given, Inputs};
use crate::control::MAX_WINDOW_MINUTES;

/// Runtime security sensor for Linux.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 fine, 1 the answer is no, 2 wrong use, 3 the sensor is not running, 4 not permitted, \
5 cannot start here."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands of this version.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the sensor in the foreground
    #[command(after_help = "\
Examples:
  holdfast run
  holdfast run --config /dev/null --policy ./policies --output json
  holdfast run --mode enforce --tier lsm --events 'process.*,file.open' --set log.level=debug")]
    Run(Run),
    /// Tell what this machine allows: kernel, tier per hook and why, and what would change that
    #[command(after_help = "\
Examples:
  holdfast doctor
  holdfast doctor --tiers
  holdfast doctor --programs
  holdfast doctor --bundle > holdfast-bundle.json
  holdfast doctor --json | jq '.hooks[] | select(.tier != \"lsm\")'")]
    Doctor(Doctor),
    /// Tell how the running sensor is: tier, mode, degradations, actors, policies, loss ledger
    #[command(after_help = "\
Examples:
  holdfast status
  holdfast status --check     (exit code 1 when degraded)
  holdfast status --json | jq '.ledger.kinds[\"process.exec\"]'")]
    Status(Status),
    /// Follow the events of the running sensor, or read them from the event log
    #[command(after_help = "\
Examples:
  holdfast events
  holdfast events --filter \"event.action == 'file.open' && file.path.startsWith('/etc/')\"
  holdfast events --since 10m --json
  holdfast events --since 2026-11-22T19:00 --follow")]
    Events(Events),
    /// Judge recorded events by policies, and tell which verdicts are others than those recorded
    #[command(after_help = "\
Examples:
  holdfast events --since 1d --json > day.json; holdfast replay day.json --policy new/
  holdfast events --json | holdfast replay - --policy new/
  holdfast replay day.json --check       (exit code 1 when a verdict changed)
  holdfast replay day.json --json | jq 'select(.changed)'")]
    Replay(Replay),
    /// Check, explain, test, list and reload policies
    #[command(subcommand)]
    Policy(Policy),
    /// Show the running sensor's actors and their restarts
    #[command(after_help = "Examples:\n  holdfast actors\n  holdfast actors --json")]
    Actors(Show),
    /// List the containers, their names and images; with or without a running sensor
    #[command(after_help = "\
Examples:
  holdfast containers
  holdfast containers --json | jq '.containers[] | select(.privileged).name'
What cgroups tell is there without any engine; runtime.docker says which engines are asked for the rest.")]
    Containers(Show),
    /// List the namespaces, who is in them and what keeps them; with or without a running sensor
    #[command(after_help = "\
Examples:
  holdfast namespaces
  holdfast namespaces --type net
  holdfast namespaces --mounts
  holdfast namespaces --json | jq '.namespaces[] | select(.leaders | not)'    (those that nobody is in)
JSON has the keys of lxkns.")]
    Namespaces(Namespaces),
    /// List the processes and their containers; with or without a running sensor
    #[command(after_help = "\
Examples:
  holdfast processes
  holdfast processes --tree
  holdfast processes --json | jq '.[] | select(.container).cmdline'")]
    Processes(Processes),
    /// Show settings and where their values come from
    #[command(subcommand)]
    Config(Config),
    /// Let others change the running sensor's files for a while, where self.protect keeps them from it
    #[command(after_help = "\
Examples:
  holdfast maintenance                   (a window of 15 minutes)
  holdfast maintenance --minutes 60
  holdfast maintenance --end
While it is open, `holdfast status` says so, and until when.")]
    Maintenance(Maintenance),
    /// Stop the running sensor, and wait until it has stopped
    #[command(after_help = "Examples:\n  holdfast stop\n  holdfast stop --unload")]
    Stop(Stop),
    /// Show the version
    #[command(after_help = "Examples:\n  holdfast version\n  holdfast version --json")]
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `holdfast maintenance`
#[derive(Debug, Args)]
pub(crate) struct Maintenance {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WINDOW_MINUTES)))]
    pub(crate) minutes: u32,
    /// End it
    #[arg(long, conflicts_with = "minutes")]
    pub(crate) end: bool,
    #[command(flatten)]
    pub(crate) show: Show,
}

/// `holdfast stop`
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Detach the kernel programs as well, which may outlive the sensor (`kernel.on_exit`); also those that one
    /// which does not run any more has left
    #[arg(long)]
    pub(crate) unload: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Where settings come from, for commands that need some.
#[derive(Debug, Default, Args)]
pub(crate) struct Settings {
    /// Configuration file; /dev/null for the defaults [default: /etc/holdfast/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

/// A command that only shows something.
#[derive(Debug, Args)]
// Else its group would have the name of the command `show`.
#[group(skip)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `namespaces`
#[derive(Debug, Args)]
pub(crate) struct Namespaces {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = Kind::ALL.map(Kind::name))]
    pub(crate) kind: Option<String>,
    /// What is mounted in each mount namespace, and what of it no path leads to
    #[arg(long)]
    pub(crate) mounts: bool,
}

/// `processes`
#[derive(Debug, Args)]
pub(crate) struct Processes {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Each below the one that made it
    #[arg(long)]
    pub(crate) tree: bool,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Policy file, or directory of them; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: Vec<String>,
    /// observe or enforce
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// auto, lsm, fmod_ret, fentry, kprobe, tracepoint or fanotify
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// What to print: pretty, json or none
    #[arg(long)]
    pub(crate) output: Option<String>,
    /// Actions reported even when no rule matches, as 'file.*,process.exec'
    #[arg(long, value_name = "GLOB,…")]
    pub(crate) events: Option<String>,
    /// BTF file for a kernel that has none of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<String>,
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Try every hook in every tier, and tell what each cannot see on this kernel
    #[arg(long, conflicts_with = "programs")]
    pub(crate) tiers: bool,
    /// Tell of the kernel programs instead, those of all tiers: instructions that the verifier walks
    #[arg(long)]
    pub(crate) programs: bool,
    /// Print all that helps to help, as one JSON document: this, settings, status and policies by name; no events
    #[arg(long, conflicts_with_all = ["programs", "tiers"])]
    pub(crate) bundle: bool,
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Exit with 1 when the sensor is degraded
    #[arg(long)]
    pub(crate) check: bool,
    /// Exit with 1 while the sensor is starting: not every hook was tried yet
    #[arg(long)]
    pub(crate) ready: bool,
    /// Print metrics, in the text format of OpenMetrics that Prometheus reads
    #[arg(long, conflicts_with_all = ["json", "check", "ready"])]
    pub(crate) metrics: bool,
}

/// `events`
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) show: Show,
    /// Go on with what happens from now on; the default without --since
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only events for which this expression holds
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Read the event log from then on: 30s, 10m, 2h, 7d, or an RFC 3339 time in UTC
    #[arg(long, value_name = "DURATION|TIME", value_parser = crate::since::parse)]
    pub(crate) since: Option<String>,
}

/// `replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Events as `holdfast events --json` prints them, one a line; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Policy file, or directory of them; may be repeated [default: what policy.paths names]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) policy: Vec<PathBuf>,
    /// Exit with 1 when a verdict is another than the recorded one
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) show: Show,
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Check policy files; exit code 1 when one has an error
    #[command(after_help = "\
Examples:
  holdfast policy check                  (what policy.paths names)
  holdfast policy check policies/ mine.json --json")]
    Check {
        /// Files, and directories of *.json
        #[arg(value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        show: Show,
    },
    /// Say of every rule who decides on it, and what deny therefore means in each tier; or why a recorded
    /// event is judged as it is
    #[command(after_help = "\
Examples:
  holdfast policy explain policies/ssh.json
  holdfast policy explain policies/ --json
  holdfast events --since 1h --json | grep '\"rule\"' | holdfast policy explain policies/ --event -")]
    Explain {
        /// Files, and directories of *.json
        #[arg(value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        /// Events as `holdfast events --json` prints them, one a line; - for standard input: which rule
        /// decides on each, and which conditions hold
        #[arg(long, value_name = "FILE")]
        event: Option<PathBuf>,
        #[command(flatten)]
        show: Show,
    },
    /// Make an allow-list policy from what recorded events did; everything else of these kinds it denies
    #[command(after_help = "\
Examples:
  holdfast run --events 'process.exec,file.*,network.*' --output json > workload.json
  holdfast policy derive workload.json --name app --scope \"container.id != ''\" > app.json
  holdfast policy check app.json; holdfast policy explain app.json
  holdfast replay workload.json --policy app.json
It is in mode observe: try it so before you let it enforce.")]
    Derive(Derive),
    /// Make a policy of Sigma rules for Linux, and say which ones cannot be expressed and why
    #[command(after_help = "\
Examples:
  holdfast policy import --sigma rules/linux/process_creation --name sigma > sigma.json
  holdfast policy import --sigma rule.yml --json | jq .left_out
  holdfast policy check sigma.json; holdfast policy explain sigma.json
Taken over are the categories process_creation, file_event, file_change, file_access, file_delete, file_rename, network_connection and dns_query.")]
    Import(Import),
    /// Run policy tests (*.test.json); exit code 1 when one fails
    #[command(after_help = "\
Examples:
  holdfast policy test policies/
  holdfast policy test policies/ssh.test.json --json")]
    Test {
        /// Files, and directories of *.test.json
        #[arg(value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        show: Show,
    },
    /// List the policies in force
    #[command(after_help = "Examples:\n  holdfast policy list\n  holdfast policy list --json")]
    List(Show),
    /// Make the running sensor read its policies again; it keeps the old ones if the new are bad
    #[command(after_help = "Examples:\n  holdfast policy reload")]
    Reload(Show),
}

/// `policy derive`
#[derive(Debug, Args)]
pub(crate) struct Derive {
    /// Events as `holdfast events --json` prints them, one a line; - for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name of the policy
    #[arg(long, default_value = "derived")]
    pub(crate) name: String,
    /// Condition under which it is in force, as "container.id != ''"; without one it is everywhere
    #[arg(long, value_name = "EXPR")]
    pub(crate) scope: Option<String>,
    /// Only of these kinds of events, as 'process.exec,network.*'
    #[arg(long, value_name = "GLOB,…", value_delimiter = ',')]
    pub(crate) events: Vec<String>,
    /// What becomes of the rest: deny or alert
    #[arg(long, default_value = "deny", value_parser = ["deny", "alert"])]
    pub(crate) action: String,
}

/// `policy import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files of Sigma rules, and directories of *.yml and *.yaml
    #[arg(long, value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub(crate) sigma: Vec<PathBuf>,
    /// Name of the policy
    #[arg(long, default_value = "sigma")]
    pub(crate) name: String,
    /// Print the policy, and what was left out, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show what is set, and with --effective every setting and where its value comes from
    #[command(after_help = "\
Examples:
  holdfast config show
  holdfast config show --effective
  holdfast config show --effective --json | jq '.\"policy.paths\"'")]
    Show {
        /// Show every setting, those at their default too
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        show: Show,
    },
    /// Print the value of one setting
    #[command(after_help = "Examples:\n  holdfast config get log.dir")]
    Get {
        /// The setting, as log.dir
        key: String,
        #[command(flatten)]
        show: Show,
    },
    /// Set one setting in the configuration file
    #[command(after_help = "\
Examples:
  holdfast config set mode enforce
  holdfast config set log.max_size 128MiB
  holdfast config set events.report 'process.*,network.connect'

What else is in the file stays as it is. A running sensor takes it over with `holdfast policy reload`, or says that it waits
for a restart.")]
    Set {
        /// The setting, as log.level
        key: String,
        /// Its value, as in the environment: a list is separated by commas
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Remove one setting from the configuration file: it has its default then
    #[command(after_help = "Examples:\n  holdfast config unset log.level")]
    Unset {
        /// The setting, as log.level
        key: String,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Which file is changed.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file [default: /etc/holdfast/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Settings {
    /// What these flags say about the configuration.
    pub(crate) fn inputs(&self) -> Inputs {
        let flags = self
            .set
            .iter()
            .map(|(key, text)| Given::by_flag("--set", key, text));
        Inputs {
            file: self.config.clone(),
            flags: flags.collect(),
        }
    }
}

impl Run {
    /// What these flags say about the configuration; those with a name of their own win over `--set`.
    pub(crate) fn inputs(&self) -> Inputs {
        let mut inputs = self.settings.inputs();
        let policy = (!self.policy.is_empty()).then(|| self.policy.join(","));
        for (flag, key, text) in [
            ("--policy", "policy.paths", &policy),
            ("--mode", "mode", &self.mode),
            ("--tier", "tier", &self.tier),
            ("--output", "output", &self.output),
            ("--events", "events.report", &self.events),
            ("--btf", "kernel.btf", &self.btf),
        ] {
            inputs
                .flags
                .extend(text.as_ref().map(|text| Given::by_flag(flag, key, text)));
        }
        inputs
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let line = [
            "holdfast",
            "run",
            "--policy",
            "a",
            "--policy",
            "b",
            "--set",
            "log.files = 2",
        ];
        let Command::Run(run) = Cli::parse_from(line).command else {
            panic!("not run")
        };
        let flags: Vec<_> = run
            .inputs()
            .flags
            .into_iter()
            .map(|given| (given.key, given.text))
            .collect();
        assert_eq!(
            flags,
            [
                ("log.files".into(), "2".into()),
                ("policy.paths".into(), "a,b".to_owned())
            ]
        );
    }
}
