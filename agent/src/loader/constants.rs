//! What the programs are told before they are loaded.

use std::collections::HashMap;

use aya_obj::Object;
use holdfast_wire::Domain;

use super::object::ring_name;
use super::reason::chain;
use super::rings::Buffer;

/// What the verifier knows of when it goes through them; the rest is in maps.
#[derive(Debug, Hash)]
pub(super) struct Constants {
    pub(super) layout: Vec<u32>,
    pub(super) environment: u32,
    pub(super) buffer: Buffer,
    pub(super) ring_bytes: [u32; Domain::ALL.len()],
    pub(super) cap: [u64; 2],
    pub(super) scratch_slots: u32,
    pub(super) buckets: u32,
}

impl Constants {
    /// Writes them into the object, and how large the maps are to be.
    ///
    /// # Errors
    /// When the object is of another tree.
    pub(super) fn put_into(&self, object: &mut Object) -> Result<(), String> {
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        let cap: Vec<u8> = self.cap.iter().flat_map(|it| it.to_ne_bytes()).collect();
        let values = [
            ("LAYOUT", words(&self.layout)),
            ("RING_BYTES", words(&self.ring_bytes)),
            (
                "PERF_BUFFERS",
                words(&[u32::from(self.buffer == Buffer::Perf)]),
            ),
            ("ENVIRONMENT", words(&[self.environment])),
            ("CGROUP_CAP", cap),
        ];
        let values: HashMap<&str, (&[u8], bool)> = values
            .iter()
            .map(|(name, value)| (*name, (value.as_slice(), true)))
            .collect();
        object
            .patch_map_data(values)
            .map_err(|error| chain(&error))?;
        let rings = Domain::ALL.map(ring_name).into_iter().zip(self.ring_bytes);
        let rings = rings.filter(|_| self.buffer == Buffer::Ring);
        let sizes = [("SCRATCH", self.scratch_slots), ("BUCKETS", self.buckets)];
        for (name, entries) in rings.chain(sizes) {
            let map = object.maps.get_mut(name);
            map.ok_or_else(|| format!("it has no map {name}"))?
                .set_max_entries(entries);
        }
        Ok(())
    }
}
