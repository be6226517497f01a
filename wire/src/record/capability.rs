//! Fixed parts of records about capabilities and about the kernel itself.

use super::file::File;

/// `capability.use`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Use {
    /// Uses of the same capability by the same program, in the same user namespace, that were not
    /// told of since the last that was.
    pub suppressed: u64,
    /// Number of the capability.
    pub capability: u32,
    /// Inode number of the user namespace in which it was asked for; 0 when unknown.
    pub user_namespace: u32,
}

/// `capability.set`. A bit for each capability that the thread has afterwards. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Set {
    /// Those in force.
    pub effective: u64,
    /// Those that may be put in force.
    pub permitted: u64,
    /// Those kept by an exec, as far as the file agrees.
    pub inheritable: u64,
}

/// `kernel.module`, `kernel.kexec`. Strings: path.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Load {
    /// The file; all unknown for what is loaded from memory.
    pub file: File,
    /// One of [`source`].
    pub source: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
}

/// Values of [`Load::source`]: what the kernel's `enum kernel_read_file_id` and
/// `enum kernel_load_data_id` say, whose numbers differ between kernels.
pub mod source {
    /// `READING_MODULE`: a file.
    pub const READING_MODULE: u32 = 0;
    /// `LOADING_MODULE`: memory of the caller.
    pub const LOADING_MODULE: u32 = 1;
    /// `READING_KEXEC_IMAGE`: a file.
    pub const READING_KEXEC_IMAGE: u32 = 2;
    /// `LOADING_KEXEC_IMAGE`: memory of the caller.
    pub const LOADING_KEXEC_IMAGE: u32 = 3;
}

/// Bytes of a program's name (`BPF_OBJ_NAME_LEN` of `include/uapi/linux/bpf.h`), NUL-padded.
pub const NAME_BYTES: usize = 16;

/// `kernel.bpf`. No strings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bpf {
    /// `enum bpf_cmd`.
    pub command: u32,
    /// `enum bpf_prog_type` of a program that is loaded; else [`NOT_GIVEN`].
    pub program_type: u32,
    /// `enum bpf_attach_type` that a program is loaded for or attached by; else [`NOT_GIVEN`].
    pub attach_type: u32,
    /// Explicit padding, zero.
    pub reserved: u32,
    /// Name of a program that is loaded.
    pub name: [u8; NAME_BYTES],
}

/// What a command does not say.
pub const NOT_GIVEN: u32 = u32::MAX;

const _: () = {
    assert!(size_of::<Use>() == 16);
    assert!(size_of::<Set>() == 24);
    assert!(size_of::<Load>() == 72);
    assert!(size_of::<Bpf>() == 32);
};
