//! Compresses the object file of the kernel programs, which is embedded in the binary.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The best there is: it is done once a build.
const LEVEL: u8 = 10;

fn main() {
    println!("cargo::rerun-if-env-changed=HOLDFAST_EBPF_OBJECT");
    let object = env::var_os("HOLDFAST_EBPF_OBJECT").map_or_else(built, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = embed(&object) {
        println!(
            "cargo::error=the kernel programs are not built ({}: {error}): run tools/build-ebpf",
            object.display()
        );
    }
}

/// Where `tools/build-ebpf` leaves the programs for the machine that the agent is built for.
fn built() -> PathBuf {
    let machine = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/holdfast-ebpf-{machine}.o"))
}

/// Writes what `loader/object.rs` includes.
fn embed(object: &Path) -> std::io::Result<()> {
    let compressed = miniz_oxide::deflate::compress_to_vec_zlib(&fs::read(object)?, LEVEL);
    let out = env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("holdfast-ebpf.o.zlib"), compressed)
}
