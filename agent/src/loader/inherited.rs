//! What the programs that are being replaced were told or have noted, and the new ones are to know as well.

use std::io::ErrorKind;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};

use super::pins::Generation;
use super::reason::chain;

/// Do not replace what is there (`include/uapi/linux/bpf.h`).
const BPF_NOEXIST: u64 = 1;

/// Enters into a map what is in the maps of this name of earlier programs, and not in it.
pub(super) fn take_over<'g, K: Pod, V: Pod>(
    earlier: impl Iterator<Item = &'g Generation>,
    name: &str,
    map: &mut HashMap<MapData, K, V>,
) {
    for generation in earlier {
        if let Err(reason) = copy(generation, name, map) {
            // User space decides on what is not known.
            tracing::warn!(
                reason,
                "cannot tell the programs all of {name} that those before them knew"
            );
        }
    }
}

fn copy<K: Pod, V: Pod>(
    generation: &Generation,
    name: &str,
    into: &mut HashMap<MapData, K, V>,
) -> Result<(), String> {
    let of = |error: MapError| chain(&error);
    let pinned = MapData::from_pin(generation.map(name)).map_err(of)?;
    // Refuses a map whose keys or values have another size.
    let from: HashMap<MapData, K, V> = Map::from_map_data(pinned)
        .map_err(of)?
        .try_into()
        .map_err(of)?;
    for entry in from.iter() {
        let (key, value) = entry.map_err(of)?;
        enter(into, key, value)?;
    }
    Ok(())
}

/// Enters what is not there yet.
pub(super) fn enter<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: K,
    value: V,
) -> Result<(), String> {
    match map.insert(key, value, BPF_NOEXIST) {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::AlreadyExists => {
            Ok(())
        }
        entered => entered.map_err(|error| chain(&error)),
    }
}
