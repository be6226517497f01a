//! The kernel's functions that programs are attached to by a trampoline, as its BTF has them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_wire::Kind;
use holdfast_wire::btf::Btf;

use super::plan;

/// Why what is attached by BTF cannot be.
pub(super) const NO_BTF: &str = "needs the kernel's BTF, which is not there";

/// Their ids, of those that [`plan`] names; `None` without BTF.
pub(super) struct Targets(Option<BTreeMap<Cow<'static, str>, u32>>);

impl Targets {
    /// Those that `btf` has.
    pub(super) fn find(btf: Option<&Btf>) -> Self {
        let ways = Kind::hooked().flat_map(plan::ways);
        let functions = ways
            .flat_map(|way| way.parts)
            .filter_map(|part| part.place.function());
        Self(btf.map(|btf| {
            functions
                .filter_map(|function| {
                    let id = btf.function_id(&function)?;
                    Some((function, id))
                })
                .collect()
        }))
    }

    /// Whether there is BTF to find any in.
    pub(super) const fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// The id of a function.
    ///
    /// # Errors
    /// When there is no BTF, or no such function in it.
    pub(super) fn id(&self, function: &str) -> Result<u32, String> {
        let ids = self.0.as_ref().ok_or(NO_BTF)?;
        let id = ids.get(function).copied();
        id.ok_or_else(|| format!("the kernel has no function {function} that can be traced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight;

    #[test]
    fn the_kernels_functions_are_found() {
        let targets = Targets::find(preflight::read(None).btf.as_ref());
        assert!(targets.id("security_file_open").is_ok());
        assert!(
            targets
                .id("no_function")
                .unwrap_err()
                .contains("no_function")
        );
        assert_eq!(
            Targets::find(None).id("security_file_open"),
            Err(NO_BTF.to_owned())
        );
    }
}
