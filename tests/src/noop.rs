//! The least that watching can cost: a BPF LSM program that does nothing but answer.
#![allow(unsafe_code)] // system calls on structs from the kernel's headers

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use aya_obj::btf::{Btf, BtfKind};
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};

/// What the program answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// 0
    Allow,
    /// -EPERM, to everybody: nothing else should happen meanwhile.
    Refuse,
}

/// Attaches one to the LSM hook `hook`; the descriptor is its link, and closing it detaches.
pub fn attach(hook: &str, answer: Answer) -> Result<OwnedFd> {
    let answer: i32 = match answer {
        Answer::Allow => 0,
        Answer::Refuse => -libc::EPERM,
    };
    // `r0 = answer; exit`: an immediate value is in the upper half.
    let instructions: [u64; 2] = [0xb7 | u64::from(answer.cast_unsigned()) << 32, 0x95];
    let btf = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let function = format!("bpf_lsm_{hook}");
    let target = btf
        .id_by_type_name_kind(&function, BtfKind::Func)
        .with_context(|| format!("find {function}"))?;
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the member of the union that this command reads.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_LSM as u32;
    load.expected_attach_type = bpf_attach_type::BPF_LSM_MAC as u32;
    load.attach_btf_id = target;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    let program = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes).context("load a program")?;
    // SAFETY: all zeros is a valid `bpf_attr`.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    attributes.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes).context("attach a program")
}

/// One of the commands whose result is a new descriptor.
fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a whole `bpf_attr`, and what they point to is constant.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
