//! The kernel's types as aya has them: some twenty megabytes.

use std::path::PathBuf;

use aya::{Btf, Endianness};

use super::attach::NO_BTF;
use super::passing::Passing;

/// See the module.
pub(super) struct Types {
    /// Where they are read again from; `None`: there are none.
    file: Option<PathBuf>,
    parsed: Passing<Btf>,
}

impl Types {
    /// Those in `bytes`, which are of `file`.
    pub(super) fn new(file: Option<PathBuf>, bytes: &[u8]) -> Self {
        let parsed = Btf::parse(bytes, Endianness::default()).ok();
        Self {
            file: file.filter(|_| parsed.is_some()),
            parsed: Passing::new(parsed),
        }
    }

    /// Whether there are any.
    pub(super) const fn are_known(&self) -> bool {
        self.file.is_some()
    }

    /// All of them.
    ///
    /// # Errors
    /// When there are none, or they cannot be read again.
    pub(super) fn all(&mut self) -> Result<&Btf, String> {
        let file = self.file.as_ref().ok_or(NO_BTF)?;
        self.parsed.get(|| {
            Btf::parse_file(file, Endianness::default())
                .map_err(|error| format!("{}: {error}", file.display()))
        })
    }

    /// See [`Passing::release`].
    pub(super) fn release(&mut self) {
        self.parsed.release();
    }

    /// See [`Passing::tidy`].
    pub(super) fn tidy(&mut self) -> bool {
        self.parsed.tidy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_again_when_they_are_needed() {
        let file = PathBuf::from(crate::preflight::KERNEL_BTF);
        let bytes = std::fs::read(&file).unwrap();
        let mut types = Types::new(Some(file), &bytes);
        assert!(types.all().is_ok());
        types.release();
        assert!(types.are_known());
        assert!(types.all().is_ok());
    }

    #[test]
    fn what_is_no_btf_has_none() {
        let mut types = Types::new(Some(PathBuf::from("/dev/null")), b"");
        assert!(!types.are_known());
        assert_eq!(types.all().unwrap_err(), NO_BTF);
    }
}
