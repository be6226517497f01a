//! What the programs are told before they are loaded.

use aya::{Btf, Ebpf, EbpfError, EbpfLoader};
use holdfast_wire::Domain;

use super::LoadError;
use super::continuity::Pinned;
use super::object::ring_name;
use super::reason::chain;
use super::rings::Buffer;

/// What the verifier knows of when it goes through them; the rest is in maps.
#[derive(Debug, Hash)]
pub(super) struct Constants {
    pub(super) layout: Vec<u32>,
    pub(super) environment: u32,
    pub(super) perf_buffers: u32,
    pub(super) cap: [u64; 2],
    pub(super) scratch_slots: u32,
    pub(super) buckets: u32,
}

impl Constants {
    /// Makes the maps, but for those that there are.
    pub(super) fn load(
        &self,
        object: &[u8],
        btf: Option<&Btf>,
        buffer: Buffer,
        ring_bytes: [u32; Domain::ALL.len()],
        pinned: &Pinned,
    ) -> Result<Ebpf, LoadError> {
        let mut ebpf = EbpfLoader::new();
        if buffer == Buffer::Ring {
            for (domain, bytes) in Domain::ALL.into_iter().zip(ring_bytes) {
                ebpf.map_max_entries(ring_name(domain), bytes);
            }
        }
        for (name, path) in pinned {
            ebpf.map_pin_path(name, path.as_path());
        }
        ebpf.btf(btf)
            .override_global("LAYOUT", self.layout.as_slice(), true)
            .override_global("RING_BYTES", ring_bytes.as_slice(), true)
            .override_global("PERF_BUFFERS", &self.perf_buffers, true)
            .override_global("ENVIRONMENT", &self.environment, true)
            .override_global("CGROUP_CAP", self.cap.as_slice(), true)
            .map_max_entries("SCRATCH", self.scratch_slots)
            .map_max_entries("BUCKETS", self.buckets)
            .load(object)
            .map_err(|error| match error {
                EbpfError::MapError(_) | EbpfError::BtfError(_) => LoadError::Maps(chain(&error)),
                _ => LoadError::Object(chain(&error)),
            })
    }
}
