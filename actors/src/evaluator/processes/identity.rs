//! `process.entity_id`: the same for the same program in the same process of the same boot.

use std::sync::Arc;

use holdfast_wire::event;
use holdfast_wire::text::push_hexadecimal;

use super::Key;

const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// What the ids of one boot have in common.
///
/// FNV-1a with 128 bits (draft-eastlake-fnv-17), printed as 20 hexadecimal digits (80 bits): among a
/// thousand million programs two are the same with a probability of one in two million.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot(u128);

impl Boot {
    pub(crate) fn new(boot_id: &str) -> Self {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        Self(hash(OFFSET, boot_id.as_bytes()))
    }

    pub(crate) fn entity_id(self, key: Key, exec_id: u32) -> Arc<str> {
        let pid = hash(self.0, &key.tgid.to_le_bytes());
        let process = hash(pid, &key.start.to_le_bytes());
        let program = hash(process, &exec_id.to_le_bytes());
        let mut text = event::Number::new();
        push_hexadecimal(&mut text, (program >> 64) as u64 & 0xffff, 4);
        push_hexadecimal(&mut text, program as u64, 16);
        text.as_str().into()
    }
}

fn hash(before: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(before, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stable_and_depends_on_everything() {
        let id = |boot, tgid, start, exec| Boot::new(boot).entity_id(Key { tgid, start }, exec);
        let one = id("boot", 1, 2, 3);
        assert_eq!(&*one, "93b6082916321d064e75");
        assert_eq!(one, id("boot", 1, 2, 3));
        for other in [
            id("tool", 1, 2, 3),
            id("boot", 2, 2, 3),
            id("boot", 1, 3, 3),
            id("boot", 1, 2, 4),
        ] {
            assert_ne!(one, other);
        }
    }
}
