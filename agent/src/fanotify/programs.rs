//! Which program a process runs, where the kernel does not number them: programs are told apart by
//! where they lie in memory, and numbered in the order in which they are met.

use super::recent::Recent;

/// Programs that are remembered: as many as there are processes in the evaluator's table. One that is
/// forgotten gets another number when it is met again, and is then read from `/proc` anew.
const REMEMBERED: usize = 65_536;

/// The numbers given so far.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    numbers: Recent<u64, u32, REMEMBERED>,
    last: u32,
}

impl Programs {
    /// The number of the program with this layout (see `uapi::process::Stat::layout`); 0 for none.
    pub(crate) fn number(&mut self, layout: u64) -> u32 {
        if layout == 0 {
            return 0;
        }
        *self.numbers.entry(layout, || {
            self.last += 1;
            self.last
        })
    }

    /// The number of a program that was gone before its layout could be read.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_programs_have_greater_numbers_and_forks_the_same() {
        let mut programs = Programs::default();
        let first = programs.number(77);
        let gone = programs.fresh();
        let second = programs.number(78);
        assert!(0 < first && first < gone && gone < second);
        assert_eq!(programs.number(77), first);
        assert_eq!(programs.number(0), 0);
    }

    #[test]
    fn a_program_that_was_forgotten_is_a_new_one() {
        let mut programs = Programs::default();
        let first = programs.number(1);
        for layout in 2..=REMEMBERED as u64 + 1 {
            programs.number(layout);
        }
        assert!(programs.number(1) > first + REMEMBERED as u32 - 1);
    }
}
