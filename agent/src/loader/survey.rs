//! What the kernel makes of every program and every tier, those that are not used too.

use std::collections::BTreeMap;

use holdfast_wire::Kind;
use holdfast_wire::control::Tier;
use serde::Serialize;

use super::{Loader, plan};

/// What the kernel's verifier made of a program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verified {
    /// Its name in the object.
    program: &'static str,
    /// The tier that it serves.
    tier: &'static str,
    /// Instructions that the verifier went through, each as often as it came by: of a million at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
    /// Why it could not be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a tier sees of a kind on this kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sight {
    /// The kind's `event.action`.
    action: &'static str,
    /// The tier's name.
    tier: &'static str,
    /// What it cannot see, in words that follow "does not see"; empty when nothing.
    blind_to: &'static str,
    /// Why it is not to be had on this kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Loader {
    /// Has the kernel verify every program of the object, those of tiers that are not used too, and says
    /// what came of it. Attaches nothing.
    pub(crate) fn verify(&self) -> Vec<Verified> {
        let mut state = self.state();
        let parts = Kind::hooked().flat_map(plan::ways).flat_map(|way| {
            let programs = way
                .parts
                .iter()
                .filter(|part| !matches!(part.place, plan::Place::Nowhere(_)));
            programs.map(|part| (part.program, (way.tier, part)))
        });
        // Several hooks share a program.
        let parts: BTreeMap<_, _> = parts.collect();
        let verified = |(program, (tier, part)): (&'static str, (Tier, &plan::Part))| {
            let (instructions, error) = match state.programs.verify(part) {
                Ok(count) => (Some(count), None),
                Err(error) => (None, Some(error)),
            };
            Verified {
                program,
                tier: tier.name(),
                instructions,
                error,
            }
        };
        parts.into_iter().map(verified).collect()
    }

    /// Attaches every kind in every way that there is and detaches it again, and says what came of it.
    pub(crate) fn survey(&self) -> Vec<Sight> {
        let mut state = self.state();
        let ways =
            Kind::hooked().flat_map(|kind| plan::ways(kind).iter().map(move |way| (kind, way)));
        let sight = |(kind, way): (Kind, &'static plan::Way)| Sight {
            action: kind.action(),
            tier: way.tier.name(),
            blind_to: way.blind_to,
            error: state.try_way(way).err(),
        };
        ways.map(sight).collect()
    }
}
