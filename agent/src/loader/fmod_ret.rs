//! Modify-return programs, which aya cannot load: the same object, parsed and relocated with aya-obj
//! against the maps that aya made, and loaded with the attach type that they need.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::btf::{Btf, BtfKind};
use aya_obj::generated::bpf_attach_type::BPF_MODIFY_RETURN;

use super::object::OBJECT;
use super::{reason, sys};

/// The relocated object.
pub(crate) struct FmodRet {
    object: aya_obj::Object,
    btf: Option<OwnedFd>,
}

/// A loaded program.
pub(crate) struct Program(OwnedFd);

impl FmodRet {
    /// Parses the object and relocates it against the maps of `ebpf`.
    pub(crate) fn new(ebpf: &Ebpf) -> Result<Self, String> {
        let mut object = aya_obj::Object::parse(OBJECT).map_err(|error| error.to_string())?;
        let btf = match aya::features().btf() {
            Some(features) => object
                .fixup_and_sanitize_btf(features)
                .map_err(|error| error.to_string())?
                .map(|btf| sys::load_btf(&btf.to_bytes()))
                .transpose()
                .map_err(|error| format!("cannot load the object's BTF: {error}"))?,
            None => None,
        };
        let text: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let definitions = object.maps.clone();
        let maps: Vec<_> = definitions
            .iter()
            .filter_map(|(name, map)| Some((name.as_str(), descriptor(ebpf, name)?, map)))
            .collect();
        object
            .relocate_maps(maps.into_iter(), &text)
            .map_err(|error| error.to_string())?;
        object
            .relocate_calls(&text)
            .map_err(|error| error.to_string())?;
        object.sanitize_functions(aya::features());
        Ok(Self { object, btf })
    }

    /// Loads a program for a kernel function.
    pub(crate) fn load(&self, name: &str, function: &str, btf: &Btf) -> Result<Program, String> {
        let missing = || format!("the object has no program {name}");
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let code = self
            .object
            .functions
            .get(&program.function_key())
            .ok_or_else(missing)?;
        let target = btf
            .id_by_type_name_kind(function, BtfKind::Func)
            .map_err(|_| format!("the kernel has no function {function} that can be traced"))?;
        let program = sys::Tracing {
            name,
            function: code,
            btf: self.btf.as_ref().map(AsFd::as_fd),
            attach_type: BPF_MODIFY_RETURN,
            target,
        };
        sys::load_tracing(&program)
            .map(Program)
            .map_err(|(error, log)| reason::of_load(&error, &log))
    }
}

impl Program {
    /// Attaches it; dropping the link detaches.
    pub(crate) fn attach(&self) -> io::Result<OwnedFd> {
        sys::attach_tracing(self.0.as_fd())
    }

    /// See [`sys::recursion_misses`].
    pub(crate) fn recursion_misses(&self) -> u64 {
        sys::recursion_misses(&self.0).unwrap_or(0)
    }
}

/// The descriptor of one of aya's maps.
fn descriptor(ebpf: &Ebpf, name: &str) -> Option<i32> {
    let (Map::Array(map)
    | Map::PerCpuArray(map)
    | Map::HashMap(map)
    | Map::LruHashMap(map)
    | Map::LpmTrie(map)
    | Map::PerfEventArray(map)
    | Map::RingBuf(map)) = ebpf.map(name)?
    else {
        return None;
    };
    Some(map.fd().as_fd().as_raw_fd())
}
