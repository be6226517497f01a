//! Which mount a dentry is seen through, where the kernel does not say.

use core::hint::black_box;

use holdfast_wire::layout::ABSENT;

use crate::offset;
use crate::path::Path;
use crate::scratch::Place;
use crate::task::{embedded, own_behind, pointer};

/// Mounts of one file system that are looked at. Most have one; a host's root has one for each bind
/// mount of containers.
const MOUNTS: u32 = 32;

/// The path of a dentry, and whether there is another mount by which the caller may have come to it.
#[inline(always)]
pub fn path_of_dentry(place: Place, dentry: u64) -> (Path, bool) {
    let found = mount_of_dentry(dentry);
    let path = Path::walk(place, found & !AMBIGUOUS, dentry);
    (path, found & AMBIGUOUS != 0)
}

/// Set beside the address of a `struct vfsmount`, which is a multiple of 8.
const AMBIGUOUS: u64 = 1;

/// The `struct vfsmount` of the dentry's file system that suits best: one in the caller's mount
/// namespace before others, one of the whole file system before one of a part of it. A global
/// function for the reason given at `path::walk_path`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn mount_of_dentry(dentry: u64) -> u64 {
    let superblock = pointer(dentry, offset!(dentry_super));
    let root = pointer(superblock, offset!(super_root));
    let own: u64 = own_behind(offset!(task_nsproxy), offset!(nsproxy_mnt_ns));
    let head = embedded(superblock, offset!(super_mounts));
    let mut next = pointer(head, 0);
    let (mut best, mut best_rank, mut own_mounts) = (0, 0, 0u64);
    for _ in 0..MOUNTS {
        if next == 0 || next == head {
            break;
        }
        // Up to 6.16 a ring of `struct list_head` in the mounts, from 6.17 on a chain of mounts.
        let mount;
        if offset!(mount_next_for_sb) == ABSENT {
            mount = next.wrapping_sub(u64::from(offset!(mount_instance)));
            next = pointer(next, 0);
        } else {
            mount = next;
            next = pointer(mount, offset!(mount_next_for_sb));
        }
        let vfsmount = embedded(mount, offset!(mount_mnt));
        let is_own = is_zero(pointer(mount, offset!(mount_ns)) ^ own);
        let is_whole = is_zero(pointer(vfsmount, offset!(vfsmount_root)) ^ root);
        let rank = 1 + 2 * is_own + is_whole;
        // All ones when this one is better.
        let better = black_box(is_less(best_rank, rank)).wrapping_neg();
        best = best & !better | vfsmount & better;
        best_rank = best_rank & !better | rank & better;
        // One, or more than one.
        own_mounts = own_mounts << is_own & 3 | is_own;
    }
    best | (is_zero(own_mounts ^ 1) ^ 1)
}

// By arithmetic and not by comparison: each branch in a loop would double the verifier's work.

/// 1 for 0, else 0; for numbers below 2^63.
#[inline(always)]
fn is_zero(number: u64) -> u64 {
    black_box(number).wrapping_sub(1) >> 63
}

/// 1 when `a` is less than `b`, else 0; for numbers below 2^63.
#[inline(always)]
fn is_less(a: u64, b: u64) -> u64 {
    a.wrapping_sub(b) >> 63
}
