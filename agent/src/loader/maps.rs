//! The object's maps: made anew, or those that an earlier sensor has left.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData, MapError};
use aya_obj::EbpfSectionKind;

use super::continuity::Pinned;
use super::reason::chain;
use super::sys;

/// By their names in the object.
pub(super) struct Maps(BTreeMap<String, MapData>);

impl Maps {
    /// Makes the maps of `object`, whose BTF the kernel has as `btf`; those that are `pinned` there are already.
    ///
    /// # Errors
    /// In one line: without memory or permission, or when what is pinned is gone.
    pub(super) fn make(
        object: &aya_obj::Object,
        btf: BorrowedFd<'_>,
        pinned: &Pinned,
    ) -> Result<Self, String> {
        let maps = object.maps.iter().map(|(name, definition)| {
            let map = match pinned.iter().find(|(it, _)| it == name) {
                Some((_, path)) => MapData::from_pin(path),
                None => MapData::create(definition.clone(), name, Some(btf)),
            };
            let map = map.map_err(|error| chain(&error))?;
            fill(&map, definition).map_err(|error| format!("cannot fill {name}: {error}"))?;
            Ok((name.clone(), map))
        });
        maps.collect::<Result<_, _>>().map(Self)
    }

    /// Those that are not taken yet.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let maps = self.0.iter();
        maps.map(|(name, map)| (name.as_str(), map.fd().as_fd()))
    }

    /// Takes one out, as what it is.
    ///
    /// # Errors
    /// When the object has none of this name, or it is something else.
    pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
        &mut self,
        name: &str,
    ) -> Result<M, String> {
        let map = Map::from_map_data(self.take_data(name)?);
        map.and_then(M::try_from)
            .map_err(|error| format!("map {name}: {}", chain(&error)))
    }

    /// Takes one out, whatever it is.
    ///
    /// # Errors
    /// When the object has none of this name.
    pub(super) fn take_data(&mut self, name: &str) -> Result<MapData, String> {
        let map = self.0.remove(name);
        map.ok_or_else(|| format!("the object has no map {name}"))
    }
}

/// Writes what belongs in a map that is a section of the object. The verifier takes what is read from `.rodata` for
/// constant once nobody can write there.
fn fill(map: &MapData, definition: &aya_obj::Map) -> std::io::Result<()> {
    let map = map.fd().as_fd();
    if !definition.data().is_empty() {
        sys::set_element(map, 0, definition.data())?;
    }
    if definition.section_kind() == EbpfSectionKind::Rodata {
        sys::freeze(map)?;
    }
    Ok(())
}
