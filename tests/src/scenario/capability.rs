//! Uses of a capability that are not told of are counted.

use anyhow::{Result, ensure};

use super::{EVENT, Scenario, ledger};
use crate::bench::Bench;
use crate::command::Bounded as _;
use crate::events::{action, number, text};

/// The scenarios of this theme.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "capability-counted",
    about: "of many uses of a capability one is told of in ten seconds, the next event has the number of the others, and the ledger all",
    at: |place| place.is_stock("5.10") || place.is_stock("6.12"),
    seconds: 60,
    run: counted,
}];

const USES: i64 = 50;
/// More than `INTERVAL` of the kernel program.
const SECONDS: &str = "11";

fn counted(bench: &Bench) -> Result<()> {
    let sensor = bench.sensor().option("events", "capability.use").start()?;
    let uses = USES.to_string();
    let ended = bench
        .act(&["chroot-often", &uses, SECONDS])
        .output_within(EVENT)?
        .with_code(0)?;
    let kinds = ledger::settled(bench)?;
    let events = sensor.stop()?;
    let told = events.matching(|event| {
        action(event) == "capability.use"
            && number(event, "/process/pid") == Some(i64::from(ended.pid))
            && text(event, "/holdfast/capability") == "CAP_SYS_CHROOT"
    });
    let suppressed: Vec<_> = told
        .iter()
        .map(|event| number(event, "/holdfast/suppressed"))
        .collect();
    ensure!(
        suppressed == [Some(0), Some(USES - 1)],
        "{USES} uses and one later were told of as {suppressed:?}"
    );
    let uses = &kinds["capability.use"];
    ensure!(
        uses["filtered"].as_i64() >= Some(USES - 1),
        "the ledger has {uses}"
    );
    Ok(())
}
