//! The kernel's types as aya has them: some twenty megabytes, which are there while programs are loaded, and no longer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::{Btf, Endianness};

use super::attach::NO_BTF;

/// How long they stay for the next program: a reload attaches many, one after the other.
const KEPT: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Types {
    /// Where they are read again from; `None`: there are none.
    file: Option<PathBuf>,
    parsed: Option<Btf>,
    used: Instant,
}

impl Types {
    /// Those in `bytes`, which are of `file`.
    pub(super) fn new(file: Option<PathBuf>, bytes: &[u8]) -> Self {
        let parsed = Btf::parse(bytes, Endianness::default()).ok();
        Self {
            file: file.filter(|_| parsed.is_some()),
            parsed,
            used: Instant::now(),
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
        self.used = Instant::now();
        let parsed = match self.parsed.take() {
            Some(parsed) => parsed,
            None => Btf::parse_file(file, Endianness::default())
                .map_err(|error| format!("{}: {error}", file.display()))?,
        };
        Ok(self.parsed.insert(parsed))
    }

    /// Nothing needs them for now.
    pub(super) fn release(&mut self) {
        self.parsed = None;
    }

    /// Whether they were released just now, since nothing has needed them for a while.
    pub(super) fn tidy(&mut self) -> bool {
        let is_idle = self.parsed.is_some() && self.used.elapsed() >= KEPT;
        if is_idle {
            self.release();
        }
        is_idle
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
        assert!(types.all().is_ok() && !types.tidy());
        types.release();
        assert!(types.are_known());
        assert!(types.all().is_ok());
        assert!(types.parsed.is_some());
    }

    #[test]
    fn what_is_no_btf_has_none() {
        let mut types = Types::new(Some(PathBuf::from("/dev/null")), b"");
        assert!(!types.are_known());
        assert_eq!(types.all().unwrap_err(), NO_BTF);
    }
}
