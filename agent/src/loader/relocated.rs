//! The object's programs, relocated against maps: what the kernel loads.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya_obj::Function;
use aya_obj::generated::bpf_attach_type::{
    BPF_LSM_MAC, BPF_MODIFY_RETURN, BPF_TRACE_FENTRY, BPF_TRACE_FEXIT,
};
use aya_obj::generated::bpf_prog_type::{
    BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_RAW_TRACEPOINT,
    BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING,
};

use super::continuity::Pinned;
use super::maps::Maps;
use super::passing::Passing;
use super::plan::{Part, Place};
use super::targets::Targets;
use super::{object, reason, sys};

/// The parsed object, whose types the kernel knows.
pub(super) struct Parsed {
    object: aya_obj::Object,
    btf: OwnedFd,
}

/// The object that is relocated when something needs it: some seven megabytes.
pub(super) struct Relocatable {
    maps: Vec<(String, OwnedFd)>,
    relocated: Passing<Relocated>,
}

/// The relocated object: each program knows its maps, and is linked with the functions that it calls when it is loaded.
pub(super) struct Relocated {
    parsed: Parsed,
    programs: HashMap<String, aya_obj::Program>,
    /// The sections that functions are in.
    text: HashSet<usize>,
}

impl Parsed {
    /// Hands `object`'s own types to the kernel.
    ///
    /// # Errors
    /// When the kernel does not take them, or the object is damaged.
    pub(super) fn new(mut object: aya_obj::Object) -> Result<Self, String> {
        let types = match aya::features().btf() {
            Some(features) => object
                .fixup_and_sanitize_btf(features)
                .map_err(|error| error.to_string())?,
            // The kernel then says why it takes none.
            None => object.btf.as_ref(),
        };
        let types = types.ok_or("the object has no BTF")?.to_bytes();
        let btf = sys::load_btf(&types)
            .map_err(|error| format!("cannot load the object's BTF: {error}"))?;
        Ok(Self { object, btf })
    }

    /// Makes the maps; see [`Maps::make`].
    pub(super) fn make_maps(&self, pinned: &Pinned) -> Result<Maps, String> {
        Maps::make(&self.object, self.btf.as_fd(), pinned)
    }
}

impl Relocatable {
    /// The embedded object, as it was parsed for these maps.
    ///
    /// # Errors
    /// Without a free descriptor for each map, or when the object is damaged.
    pub(super) fn new(parsed: Parsed, maps: &Maps) -> Result<Self, String> {
        let maps = maps
            .all()
            .map(|(name, map)| Ok((name.to_owned(), map.try_clone_to_owned()?)))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| format!("cannot keep a map: {error}"))?;
        let relocated = Relocated::new(parsed, &maps)?;
        Ok(Self {
            maps,
            relocated: Passing::new(Some(relocated)),
        })
    }

    /// It, relocated.
    ///
    /// # Errors
    /// When the kernel does not take the object's BTF, or the object is damaged.
    pub(super) fn get(&mut self) -> Result<&mut Relocated, String> {
        let maps = &self.maps;
        self.relocated.get(|| {
            // The one with rings in either case: what a map is was said when it was made.
            let bytes = object::with_rings()?;
            let object = aya_obj::Object::parse(&bytes).map_err(|error| error.to_string())?;
            Relocated::new(Parsed::new(object)?, maps)
        })
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
    fn new(mut parsed: Parsed, maps: &[(String, OwnedFd)]) -> Result<Self, String> {
        let object = &mut parsed.object;
        let text: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let definitions = mem::take(&mut object.maps);
        let maps = maps.iter().filter_map(|(name, descriptor)| {
            let definition = definitions.get(name)?;
            Some((name.as_str(), descriptor.as_raw_fd(), definition))
        });
        object
            .relocate_maps(maps, &text)
            .map_err(|error| error.to_string())?;
        object.sanitize_functions(aya::features());
        Ok(Self {
            programs: mem::take(&mut object.programs),
            parsed,
            text,
        })
    }

    /// Loads a program for its place.
    ///
    /// # Errors
    /// In one line: what the kernel or its verifier says.
    pub(super) fn load(&mut self, part: &Part, targets: &Targets) -> Result<OwnedFd, String> {
        let function = self.linked(part.program)?;
        let program = self.program(part, &function, targets)?;
        sys::load(&program).map_err(|(error, log)| reason::of_load(&error, &log))
    }

    /// Loads a program and lets go of it: how many instructions the verifier went through, each as
    /// often as it came by.
    pub(super) fn verify(&mut self, part: &Part, targets: &Targets) -> Result<u64, String> {
        let function = self.linked(part.program)?;
        let program = self.program(part, &function, targets)?;
        let log = sys::verifier_statistics(&program)
            .map_err(|(error, log)| reason::of_load(&error, &log))?;
        // `print_verification_stats` of kernel/bpf/verifier.c.
        let count = log.split("processed ").nth(1).and_then(|rest| {
            let (count, _) = rest.split_once(' ')?;
            count.parse().ok()
        });
        count.ok_or_else(|| format!("the verifier says no number: {log}"))
    }

    /// A program with the functions that it calls behind it.
    fn linked(&mut self, name: &str) -> Result<Function, String> {
        let missing = || format!("the object has no program {name}");
        let program = self.programs.get(name).ok_or_else(missing)?;
        let key = program.function_key();
        let object = &mut self.parsed.object;
        let unlinked = object.functions.get(&key).cloned().ok_or_else(missing)?;
        // aya-obj links the programs that it has, all of them: a tenth of what a start took.
        object.programs = HashMap::from([(name.to_owned(), program.clone())]);
        object
            .relocate_calls(&self.text)
            .map_err(|error| error.to_string())?;
        // What is linked is not to be linked again.
        object.functions.insert(key, unlinked).ok_or_else(missing)
    }

    fn program<'a>(
        &'a self,
        part: &'a Part,
        function: &'a Function,
        targets: &Targets,
    ) -> Result<sys::Program<'a>, String> {
        let (kind, attach_type) = match part.place {
            Place::Lsm(_) => (BPF_PROG_TYPE_LSM, Some(BPF_LSM_MAC)),
            Place::FmodRet(_) | Place::FmodRetCall(_) => {
                (BPF_PROG_TYPE_TRACING, Some(BPF_MODIFY_RETURN))
            }
            Place::Fentry(_) => (BPF_PROG_TYPE_TRACING, Some(BPF_TRACE_FENTRY)),
            Place::Fexit(_) => (BPF_PROG_TYPE_TRACING, Some(BPF_TRACE_FEXIT)),
            Place::Kprobe(_) => (BPF_PROG_TYPE_KPROBE, None),
            Place::RawTracepoint(_) => (BPF_PROG_TYPE_RAW_TRACEPOINT, None),
            Place::Syscalls(_) => (BPF_PROG_TYPE_TRACEPOINT, None),
            Place::Nowhere(_) => return Err("there is nothing to load a program for".to_owned()),
        };
        let target = part.place.function();
        let target = target.map(|it| targets.id(&it)).transpose()?;
        Ok(sys::Program {
            name: part.program,
            function,
            btf: self.parsed.btf.as_fd(),
            kind,
            attach: attach_type.zip(target),
        })
    }
}
