//! What takes megabytes and is there while hooks are attached, and no longer.

use std::time::{Duration, Instant};

/// How long it stays for the next hook: a reload attaches many, one after the other.
const KEPT: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Passing<T> {
    value: Option<T>,
    used: Instant,
}

impl<T> Passing<T> {
    /// What there is already, or nothing yet.
    pub(super) fn new(value: Option<T>) -> Self {
        Self {
            value,
            used: Instant::now(),
        }
    }

    /// It, as `make` makes it where it is not there.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get<E>(&mut self, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
        self.used = Instant::now();
        let value = match self.value.take() {
            Some(value) => value,
            None => make()?,
        };
        Ok(self.value.insert(value))
    }

    /// Nothing needs it for now.
    pub(super) fn release(&mut self) {
        self.value = None;
    }

    /// Whether it was released just now, since nothing has needed it for a while.
    pub(super) fn tidy(&mut self) -> bool {
        let is_idle = self.value.is_some() && self.used.elapsed() >= KEPT;
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
    fn it_is_made_when_it_is_needed_and_not_there() {
        let mut made = 0;
        let mut passing = Passing::new(None);
        for _ in 0..2 {
            let value = passing.get(|| {
                made += 1;
                Ok::<_, ()>(7)
            });
            assert_eq!(value, Ok(&mut 7));
        }
        assert!(!passing.tidy());
        passing.release();
        assert_eq!(passing.get(|| Err("gone")), Err("gone"));
        assert_eq!(passing.get(|| Ok::<_, ()>(8)), Ok(&mut 8));
        assert_eq!(made, 1);
    }
}
