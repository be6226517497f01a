//! `holdfast-server simulate`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Sensors that one process can be: a connection each, and a port of this machine.
const MAX_SENSORS: i64 = 20_000;

/// `holdfast-server simulate`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("installation").required(true).args(["key", "key_file"]))]
pub(crate) struct Simulate {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5150")]
    pub(crate) url: String,
    /// Installation key (`holdfast-server key create`)
    #[arg(
        long,
        value_name = "KEY",
        env = "HOLDFAST_SERVER_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// File with the installation key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Certificates (PEM) to know the server by; whom the system trusts if not given
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// How many sensors
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=MAX_SENSORS))]
    pub(crate) sensors: i64,
    /// Events of each sensor; the highest rate that holds is looked for if not given
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) events_per_second: Option<f64>,
    /// How long, or how long each attempt: 30s, 5m, 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Most events of a batch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) batch_events: u64,
    /// How long events wait for others to be sent with
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) batch_interval: Duration,
    /// One batch of so many is sent twice, as by a sensor that did not get the answer; 0: none
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) repeat: u64,
    /// What hosts are called, before their number: the same name is the same sensors again, which `sensor allow-enrol --all` lets enrol
    #[arg(long, value_name = "NAME", default_value = "simulated", value_parser = name)]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is 0.001 to 100000 events a second".to_owned()),
    }
}

fn name(text: &str) -> Result<String, crate::auth::Unfit> {
    crate::auth::check_name(text).map(|()| text.to_owned())
}

/// A number and `ms`, `s`, `m` or `h`; at least a millisecond, at most a day.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with ms, s, m or h, a day at most".to_owned();
    let at = text
        .find(|of: char| !of.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(milliseconds) {
        Some(all @ 1..=86_400_000) => Ok(Duration::from_millis(all)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "",
            "5",
            "s",
            "0s",
            "25h",
            "-1s",
            "1 s",
            "99999999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
