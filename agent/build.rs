//! Finds the object file of the kernel programs, which is embedded in the binary.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=HOLDFAST_EBPF_OBJECT");
    let object = std::env::var_os("HOLDFAST_EBPF_OBJECT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/holdfast-ebpf.o"),
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    match object.canonicalize() {
        Ok(path) => println!("cargo::rustc-env=HOLDFAST_EBPF_OBJECT={}", path.display()),
        Err(error) => println!(
            "cargo::error=the kernel programs are not built ({}: {error}): run tools/build-ebpf",
            object.display()
        ),
    }
}
