//! `holdfast policy explain`: who decides on each rule, and what deny therefore means.

use std::path::PathBuf;

use crate::cli::Show;
use crate::failure::Failure;
use crate::output::{self, Table};
use crate::policies::{self, given_or_configured, refused};

pub(super) fn explain(paths: &[PathBuf], show: &Show) -> Result<(), Failure> {
    let config = show.settings.inputs().load()?;
    let paths = given_or_configured(paths, &config);
    let set = policies::load(&paths, &config, 0).map_err(|errors| refused(&errors))?;
    let explanation = set.snapshot.explain();
    if show.json {
        return output::json(&explanation);
    }
    let mut table = Table::new([
        "POLICY",
        "RULE",
        "ACTION",
        "HOOK",
        "DECIDED BY",
        "DENY MEANS",
        "WAITS FOR",
    ]);
    // From here on its JSON is what is shown: the interface that scripts know.
    let explanation = serde_json::to_value(&explanation).map_err(anyhow::Error::from)?;
    for rule in explanation["rules"].as_array().into_iter().flatten() {
        for hook in rule["hooks"].as_array().into_iter().flatten() {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let means = hook["deny_means"].as_object().into_iter().flatten();
            let means: Vec<_> = means
                .map(|(tier, what)| format!("{tier}: {}", text(what)))
                .collect();
            let waits = hook["waits_for"].as_array().into_iter().flatten();
            table.row([
                text(&rule["policy"]),
                text(&rule["id"]),
                text(&rule["action"]),
                text(&hook["action"]),
                text(&hook["decided"]),
                means.join(", "),
                waits.map(text).collect::<Vec<_>>().join(", "),
            ]);
        }
    }
    output::text(&table.render(0))
}
