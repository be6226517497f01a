//! The kernel programs' object file.

use std::mem::offset_of;

use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_PERF_EVENT_ARRAY;
use aya_obj::maps::bpf_map_def;
use holdfast_wire::Domain;
use miniz_oxide::inflate::decompress_to_vec_zlib;
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// As `build.rs` compressed it: a tenth of it, and read but once a start.
static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/holdfast-ebpf.o.zlib"));

/// The map of a domain's ring, or of the perf buffers in its place.
pub(crate) const fn ring_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Process => "PROCESS_RING",
        Domain::File => "FILE_RING",
        Domain::Network => "NETWORK_RING",
        Domain::Memory => "MEMORY_RING",
        Domain::Capability => "CAPABILITY_RING",
    }
}

/// The map of a domain's perf buffers for urgent records.
pub(crate) const fn urgent_name(domain: Domain) -> &'static str {
    match domain {
        Domain::Process => "PROCESS_URGENT",
        Domain::File => "FILE_URGENT",
        Domain::Network => "NETWORK_URGENT",
        Domain::Memory => "MEMORY_URGENT",
        Domain::Capability => "CAPABILITY_URGENT",
    }
}

/// The object as `tools/build-ebpf` built it: with ring buffers.
///
/// # Errors
/// When the binary is damaged: it has a checksum.
pub(crate) fn with_rings() -> Result<Vec<u8>, String> {
    decompress_to_vec_zlib(COMPRESSED).map_err(|error| error.to_string())
}

/// The object in which the rings' maps are arrays of perf buffers.
///
/// The programs are the same: which of the two they use is a constant. But a map has its type in the
/// object, and a kernel without ring buffers makes none, be it used or not.
///
/// # Errors
/// As [`with_rings`], and when the object does not have these maps.
pub(crate) fn with_perf_buffers() -> Result<Vec<u8>, String> {
    let object = with_rings()?;
    let mut bytes = object.clone();
    let file =
        ElfFile64::<object::Endianness>::parse(&*object).map_err(|error| error.to_string())?;
    for name in Domain::ALL.map(ring_name) {
        let place = file
            .symbols()
            .find(|symbol| symbol.name() == Ok(name))
            .and_then(|symbol| {
                let section = file.section_by_index(symbol.section_index()?).ok()?;
                Some((section.file_range()?.0 + symbol.address()) as usize)
            })
            .ok_or_else(|| format!("no map {name}"))?;
        // The key is the number of a CPU, the value a perf event; aya makes room for every CPU.
        let definition = [
            (
                offset_of!(bpf_map_def, map_type),
                BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32,
            ),
            (offset_of!(bpf_map_def, key_size), 4),
            (offset_of!(bpf_map_def, value_size), 4),
            (offset_of!(bpf_map_def, max_entries), 0),
        ];
        for (offset, value) in definition {
            let at = place + offset;
            let field = bytes.get_mut(at..at + size_of::<u32>());
            field
                .ok_or_else(|| format!("map {name} lies outside of the object"))?
                .copy_from_slice(&value.to_ne_bytes());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya_obj::generated::bpf_map_type;

    #[test]
    fn only_the_rings_become_perf_event_arrays() {
        let before = aya_obj::Object::parse(&with_rings().unwrap()).unwrap();
        let after = aya_obj::Object::parse(&with_perf_buffers().unwrap()).unwrap();
        let rings = Domain::ALL.map(ring_name);
        for (name, map) in &after.maps {
            let (was, is) = (before.maps[name].map_type(), map.map_type());
            if rings.contains(&name.as_str()) {
                assert_eq!(was, bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32, "{name}");
                assert_eq!(is, BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32, "{name}");
                assert_eq!(
                    (map.key_size(), map.value_size(), map.max_entries()),
                    (4, 4, 0)
                );
            } else {
                assert_eq!(was, is, "{name}");
            }
        }
        for name in Domain::ALL.map(urgent_name) {
            assert_eq!(
                after.maps[name].map_type(),
                BPF_MAP_TYPE_PERF_EVENT_ARRAY as u32
            );
        }
    }
}
