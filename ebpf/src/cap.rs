//! The most events of one cgroup, so that a noisy container takes neither ring nor reader from the rest
//! of the machine. Off is a constant to the verifier, and costs nothing then.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use holdfast_wire::control::{Bucket, CapKey};

use crate::counter::add;
use crate::maps::{BUCKETS, CGROUP_CAP, constant};
use crate::run::Run;

/// Id of the root of a hierarchy (`kernfs_create_root`). What is there is in no container; on a
/// machine with cgroup v1 alone, whose cgroups have no ids, that is everything.
const ROOT: u64 = 1;

/// Whether the current cgroup may have one more event of the run's domain; if so, it has it.
#[inline(always)]
pub fn admits(run: &Run) -> bool {
    let cost = constant(&raw const CGROUP_CAP[0]);
    if cost == 0 {
        return true;
    }
    // SAFETY: no preconditions.
    let (cgroup, now) = unsafe { (bpf_get_current_cgroup_id(), bpf_ktime_get_ns()) };
    if cgroup <= ROOT {
        return true;
    }
    let key = CapKey {
        cgroup,
        domain: run.kind.domain() as u32,
        reserved: 0,
    };
    let Some(bucket) = BUCKETS.get_ptr_mut(key) else {
        let full_at = now + cost;
        let bucket = Bucket { full_at, capped: 0 };
        // Where there is no room, or another CPU was quicker, the event passes for nothing.
        let _ = BUCKETS.insert(key, bucket, u64::from(BPF_NOEXIST));
        return true;
    };
    // SAFETY: a map value; its fields are aligned u64. Between load and store another CPU may come:
    // each can so let one event more through, which a cap bears, and a lock could not be taken here.
    unsafe {
        let full_at = (&raw const (*bucket).full_at).read_volatile();
        if full_at <= now {
            (&raw mut (*bucket).full_at).write_volatile(now + cost);
        } else if full_at - now > constant(&raw const CGROUP_CAP[1]) {
            add(&raw mut (*bucket).capped, 1);
            return false;
        } else {
            add(&raw mut (*bucket).full_at, cost);
        }
    }
    true
}
