//! Tables in `docs/` of what the guests found: a column for each guest, made of what one scenario noted
//! there. Found anew by each full run, and compared with those that are kept.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{coverage, hooks, verifier};

/// What a scenario noted in each guest of the matrix that is to run it.
pub type Columns = [(String, Value)];

/// A table that is kept.
#[derive(Debug)]
pub struct Table {
    /// Where it is kept, in `docs/`.
    pub name: &'static str,
    /// The scenario that tells of it.
    pub scenario: &'static str,
    /// Writes it.
    pub write: fn(&Columns) -> Result<String>,
    /// What in the kept text, the first, no longer holds by what was found, the second.
    pub differs: fn(&str, &str) -> Option<String>,
}

/// All of them.
pub const TABLES: &[Table] = &[coverage::TABLE, hooks::TABLE, verifier::TABLE];

impl Table {
    /// Compares what was found with what is kept.
    ///
    /// # Errors
    /// When they differ; what was found is then beside the results.
    pub fn compare(&self, columns: &Columns, dir: &Path) -> Result<()> {
        let Self { name, .. } = self;
        let kept = format!("docs/{name}");
        let found = (self.write)(columns)?;
        let beside = dir.join(name);
        fs::write(&beside, &found).with_context(|| format!("write {}", beside.display()))?;
        let text = fs::read_to_string(&kept).with_context(|| format!("read {kept}"))?;
        if let Some(why) = (self.differs)(&text, &found) {
            bail!(
                "{kept} is not what the guests found: {why}; to accept it: cp {} {kept}",
                beside.display()
            );
        }
        Ok(())
    }
}

/// For tables that say exactly what was found.
pub fn any_difference(kept: &str, found: &str) -> Option<String> {
    let changed = found
        .lines()
        .find(|line| !kept.lines().any(|it| it == *line));
    (kept != found).then(|| match changed {
        Some(line) => format!("'{line}' is new"),
        None => "lines are gone".to_owned(),
    })
}
