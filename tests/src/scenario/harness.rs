//! The harness tried on itself: that it can tell success from failure, silence and a crash. Those
//! that must fail run only when named in full.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::Scenario;
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::place::Place;

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "harness",
        about: "the machine has what scenarios need",
        at: |_| true,
        seconds: 10,
        run: machine_is_usable,
    },
    Scenario {
        name: "harness-fail",
        about: "fails on purpose",
        at: |_| true,
        seconds: 10,
        run: |_| bail!("failed on purpose"),
    },
    Scenario {
        name: "harness-hang",
        about: "hangs on purpose",
        at: |_| true,
        seconds: 2,
        run: |_| loop {
            sleep(Duration::from_secs(1));
        },
    },
    Scenario {
        name: "harness-panic",
        about: "panics the guest's kernel on purpose",
        at: Place::is_guest,
        seconds: 10,
        run: panic_kernel,
    },
    Scenario {
        name: "harness-freeze",
        about: "stops the guest on purpose",
        at: Place::is_guest,
        seconds: 2,
        run: freeze,
    },
];

/// Whether this scenario fails on purpose.
pub fn on_purpose(scenario: &Scenario) -> bool {
    scenario.name.starts_with("harness-")
}

fn machine_is_usable(bench: &Bench) -> Result<()> {
    let greeting = bench
        .busybox(&["echo", "hello"])
        .output_within(Duration::from_secs(5))?;
    ensure!(
        greeting.stdout == "hello\n",
        "busybox said {:?}",
        greeting.stdout
    );
    let missing = bench
        .act(&["read", "/nonexistent"])
        .output_within(Duration::from_secs(5))?;
    ensure!(
        missing.code() == Some(1),
        "reading nothing ended with {}",
        missing.status
    );
    ensure!(
        missing.stderr.contains("ENOENT"),
        "reading nothing said {:?}",
        missing.stderr
    );
    ensure!(
        fs::exists(&bench.setting.holdfast)?,
        "{} is missing",
        bench.setting.holdfast.display()
    );
    if bench.setting.place.is_guest() {
        ensure!(
            fs::exists("/sys/fs/cgroup/cgroup.procs")?,
            "cgroup2 is not mounted"
        );
        let release =
            fs::read_to_string("/proc/sys/kernel/osrelease").context("read the release")?;
        bench.note(release.trim_end().to_owned());
    }
    Ok(())
}

fn panic_kernel(_: &Bench) -> Result<()> {
    fs::write("/proc/sys/kernel/sysrq", "1").context("allow sysrq")?;
    fs::write("/proc/sysrq-trigger", "c").context("trigger a crash")
}

/// Makes pid 1 stop as well, so that only the host can notice.
fn freeze(_: &Bench) -> Result<()> {
    let group = Path::new("/sys/fs/cgroup/frozen");
    fs::create_dir(group).context("create a cgroup")?;
    fs::write(group.join("cgroup.procs"), "1").context("move pid 1")?;
    fs::write(group.join("cgroup.freeze"), "1").context("freeze pid 1")?;
    loop {
        sleep(Duration::from_secs(1));
    }
}
