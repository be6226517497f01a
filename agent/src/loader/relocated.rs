//! The same object, parsed and relocated with aya-obj against the maps that aya made, for what aya does
//! not do: loading modify-return programs with the attach type that they need, and telling how much of
//! a program the verifier walks.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::btf::BtfKind;
use aya_obj::generated::bpf_attach_type::{
    BPF_LSM_MAC, BPF_MODIFY_RETURN, BPF_TRACE_FENTRY, BPF_TRACE_FEXIT,
};
use aya_obj::generated::bpf_prog_type::{
    BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_RAW_TRACEPOINT,
    BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING,
};

use super::passing::Passing;
use super::plan::{Part, Place};
use super::types::Types;
use super::{object, reason, sys};

/// The object that is relocated when something needs it: some seven megabytes.
pub(super) struct Relocatable {
    maps: Vec<(String, OwnedFd)>,
    relocated: Passing<Relocated>,
}

/// The relocated object.
pub(super) struct Relocated {
    object: aya_obj::Object,
    btf: Option<OwnedFd>,
}

/// A loaded program.
pub(crate) struct Program(OwnedFd);

impl Relocatable {
    /// The embedded object, against the maps of `ebpf`.
    ///
    /// # Errors
    /// Without a free descriptor for each map.
    pub(super) fn new(ebpf: &Ebpf) -> io::Result<Self> {
        let maps = ebpf.maps().filter_map(|(name, map)| {
            let descriptor = descriptor(map)?.try_clone_to_owned();
            Some(descriptor.map(|descriptor| (name.to_owned(), descriptor)))
        });
        Ok(Self {
            maps: maps.collect::<io::Result<_>>()?,
            relocated: Passing::new(None),
        })
    }

    /// It, relocated.
    ///
    /// # Errors
    /// When the kernel does not take the object's BTF, or the object is damaged.
    pub(super) fn get(&mut self) -> Result<&Relocated, String> {
        let maps = &self.maps;
        self.relocated.get(|| Relocated::new(maps))
    }

    /// See [`Passing::release`].
    pub(super) fn release(&mut self) {
        self.relocated.release();
    }

    /// See [`Passing::tidy`].
    pub(super) fn tidy(&mut self) -> bool {
        self.relocated.tidy()
    }
}

impl Relocated {
    /// Parses the object and relocates it against these maps. The object with rings in either case: what a map is
    /// was said when it was made.
    fn new(maps: &[(String, OwnedFd)]) -> Result<Self, String> {
        let mut object =
            aya_obj::Object::parse(&object::with_rings()?).map_err(|error| error.to_string())?;
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
        let maps = maps.iter().filter_map(|(name, descriptor)| {
            let definition = definitions.get(name)?;
            Some((name.as_str(), descriptor.as_raw_fd(), definition))
        });
        object
            .relocate_maps(maps, &text)
            .map_err(|error| error.to_string())?;
        object
            .relocate_calls(&text)
            .map_err(|error| error.to_string())?;
        object.sanitize_functions(aya::features());
        Ok(Self { object, btf })
    }

    /// Loads a modify-return program for its place.
    pub(crate) fn load(
        &self,
        name: &str,
        place: Place,
        types: &mut Types,
    ) -> Result<Program, String> {
        let program = self.program(name, place, types)?;
        sys::load(&program)
            .map(Program)
            .map_err(|(error, log)| reason::of_load(&error, &log))
    }

    /// Loads any program and lets go of it: how many instructions the verifier went through, each as
    /// often as it came by.
    pub(crate) fn verify(&self, part: &Part, types: &mut Types) -> Result<u64, String> {
        let program = self.program(part.program, part.place, types)?;
        let log = sys::verifier_statistics(&program)
            .map_err(|(error, log)| reason::of_load(&error, &log))?;
        // `print_verification_stats` of kernel/bpf/verifier.c.
        let count = log.split("processed ").nth(1).and_then(|rest| {
            let (count, _) = rest.split_once(' ')?;
            count.parse().ok()
        });
        count.ok_or_else(|| format!("the verifier says no number: {log}"))
    }

    fn program<'a>(
        &'a self,
        name: &'a str,
        place: Place,
        types: &mut Types,
    ) -> Result<sys::Program<'a>, String> {
        let missing = || format!("the object has no program {name}");
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let function = self
            .object
            .functions
            .get(&program.function_key())
            .ok_or_else(missing)?;
        let mut target = |function: &str| {
            types
                .all()?
                .id_by_type_name_kind(function, BtfKind::Func)
                .map_err(|_| format!("the kernel has no function {function} that can be traced"))
        };
        let (kind, attach) = match place {
            Place::Lsm(hook) => {
                let target = target(&format!("bpf_lsm_{hook}"))?;
                (BPF_PROG_TYPE_LSM, Some((BPF_LSM_MAC, target)))
            }
            Place::FmodRet(function) => {
                let attach = (BPF_MODIFY_RETURN, target(function)?);
                (BPF_PROG_TYPE_TRACING, Some(attach))
            }
            Place::FmodRetCall(call) => {
                let attach = (BPF_MODIFY_RETURN, target(&function_of(call))?);
                (BPF_PROG_TYPE_TRACING, Some(attach))
            }
            Place::Fentry(function) => {
                let attach = (BPF_TRACE_FENTRY, target(function)?);
                (BPF_PROG_TYPE_TRACING, Some(attach))
            }
            Place::Fexit(function) => {
                let attach = (BPF_TRACE_FEXIT, target(function)?);
                (BPF_PROG_TYPE_TRACING, Some(attach))
            }
            Place::Kprobe(_) => (BPF_PROG_TYPE_KPROBE, None),
            Place::RawTracepoint(_) => (BPF_PROG_TYPE_RAW_TRACEPOINT, None),
            Place::Syscalls(_) => (BPF_PROG_TYPE_TRACEPOINT, None),
            Place::Nowhere(_) => return Err(missing()),
        };
        Ok(sys::Program {
            name,
            function,
            btf: self.btf.as_ref().map(AsFd::as_fd),
            kind,
            attach,
        })
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

/// The function of a system call (`SYSCALL_DEFINEx` of `arch/*/include/asm/syscall_wrapper.h`).
fn function_of(call: &str) -> String {
    let prefix = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    format!("__{prefix}_sys_{call}")
}

/// The descriptor of one of aya's maps.
fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    let (Map::Array(map)
    | Map::PerCpuArray(map)
    | Map::HashMap(map)
    | Map::LruHashMap(map)
    | Map::LpmTrie(map)
    | Map::PerfEventArray(map)
    | Map::RingBuf(map)) = map
    else {
        return None;
    };
    Some(map.fd().as_fd())
}
