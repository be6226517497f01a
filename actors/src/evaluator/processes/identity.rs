//! `process.entity_id`: the same for the same program in the same process of the same boot.

use std::sync::Arc;

use super::Key;

/// FNV-1a with 128 bits (draft-eastlake-fnv-17), printed as 20 hexadecimal digits (80 bits): among a
/// thousand million programs two are the same with a probability of one in two million.
pub(crate) fn entity_id(boot_id: &str, key: Key, exec_id: u32) -> Arc<str> {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let parts = [
        &key.tgid.to_le_bytes()[..],
        &key.start.to_le_bytes(),
        &exec_id.to_le_bytes(),
    ];
    let bytes = boot_id.bytes().chain(parts.into_iter().flatten().copied());
    let hash = bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    });
    format!("{:020x}", hash & ((1 << 80) - 1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stable_and_depends_on_everything() {
        let id = |boot, tgid, start, exec| entity_id(boot, Key { tgid, start }, exec);
        let one = id("boot", 1, 2, 3);
        assert_eq!(one.len(), 20);
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
