//! What this kernel is and has, read before anything is loaded. What works is found out by trying:
//! see the loader.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_wire::btf::Btf;
use holdfast_wire::layout::Layout;
use serde::Serialize;

/// Where the kernel shows its own BTF.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Facts for `doctor` and the log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    /// `uname -r`
    pub(crate) kernel: String,
    /// `uname -m`
    pub(crate) machine: String,
    /// The file that BTF is read from; absent when there is none.
    pub(crate) btf: Option<PathBuf>,
    /// Why BTF cannot be used; empty when it can.
    pub(crate) btf_error: String,
    /// Fields of kernel structs that were not found, by name.
    pub(crate) absent_fields: Vec<&'static str>,
    /// The active LSMs; absent when securityfs does not say.
    pub(crate) lsm: Option<Vec<String>>,
    /// Whether tracefs is mounted, which syscall tracepoints and kprobes need.
    pub(crate) tracefs: bool,
    /// Why kernel programs cannot be loaded at all; empty where they can, or were not tried.
    pub(crate) ebpf_error: String,
}

/// The kernel's BTF and what was found in it.
pub(crate) struct KernelTypes {
    /// For `doctor`.
    pub(crate) facts: Facts,
    /// Offsets of the fields that programs read.
    pub(crate) layout: Layout,
    /// All of them; `None` when there is no BTF.
    pub(crate) btf: Option<Btf>,
}

/// Reads what can be read. `btf` is the file of the setting `kernel.btf`, used instead of the kernel's.
pub(crate) fn read(btf: Option<&Path>) -> KernelTypes {
    let path = btf.unwrap_or(Path::new(KERNEL_BTF));
    let parsed = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| Btf::parse(bytes).map_err(|error| error.to_string()));
    let (layout, btf, btf_error) = match parsed {
        Ok(btf) => (
            Layout::resolve(|source| btf.find(source)),
            Some(btf),
            String::new(),
        ),
        Err(error) => (
            Layout::UNKNOWN,
            None,
            format!("{}: {error}", path.display()),
        ),
    };
    let name = rustix::system::uname();
    let facts = Facts {
        kernel: name.release().to_string_lossy().into_owned(),
        machine: name.machine().to_string_lossy().into_owned(),
        btf: btf_error.is_empty().then(|| path.to_owned()),
        btf_error,
        absent_fields: layout.absent().collect(),
        lsm: fs::read_to_string("/sys/kernel/security/lsm")
            .ok()
            .map(|list| list.trim().split(',').map(str::to_owned).collect()),
        tracefs: [
            "/sys/kernel/tracing/events",
            "/sys/kernel/debug/tracing/events",
        ]
        .iter()
        .any(|path| Path::new(path).is_dir()),
        ebpf_error: String::new(),
    };
    KernelTypes { facts, layout, btf }
}
