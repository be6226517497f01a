//! How many messages of the connector were lost: each CPU numbers its own.

use std::collections::HashMap;

use holdfast_wire::uapi::connector::Message;

/// CPUs whose numbers are remembered: more than any kernel is built for (`NR_CPUS`, 8192). A message
/// that claims another is no message of the kernel's.
const CPUS: usize = 8192;

/// The last number of each CPU.
#[derive(Debug, Default)]
pub(crate) struct Gaps(HashMap<u32, u32>);

impl Gaps {
    /// How many messages of its CPU were lost before this one. The first of each CPU is where
    /// counting begins.
    pub(crate) fn before(&mut self, message: &Message) -> u64 {
        if self.0.len() >= CPUS && !self.0.contains_key(&message.cpu) {
            return 0;
        }
        let last = self.0.insert(message.cpu, message.sequence);
        let step = last.map_or(1, |last| message.sequence.wrapping_sub(last));
        // Backwards is no gap: the kernel numbers messages and sends them without interruption.
        if step > u32::MAX / 2 {
            return 0;
        }
        u64::from(step.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::uapi::connector::What;

    #[test]
    fn gaps_are_counted_by_cpu() {
        let mut gaps = Gaps::default();
        let mut before = |cpu, sequence| {
            let (time, what) = (0, What::Other(1));
            gaps.before(&Message {
                sequence,
                cpu,
                time,
                what,
            })
        };
        assert_eq!(before(0, 10), 0);
        assert_eq!(before(1, 500), 0);
        assert_eq!(before(0, 11), 0);
        assert_eq!(before(0, 15), 3);
        assert_eq!(before(1, 501), 0);
        assert_eq!(before(2, u32::MAX), 0);
        assert_eq!(before(2, 1), 1);
        assert_eq!(before(2, 0), 0);
    }
}
