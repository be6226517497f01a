# Sourced by the other tools: where things are and which Rust builds what.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cargo_bin=${CARGO_HOME:-$HOME/.cargo}/bin
export PATH="$cargo_bin:$PATH"
# What bpf-linker is built with.
llvm=22
# The machine that is built for, and the one that builds.
machine=$(uname -m)
arch=${ARCH:-$machine}
# Flags of the compiler, by which what is given away is the same wherever it was built, and does not say where.
nowhere="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$root=/holdfast"

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# at_least VERSION MINIMUM
at_least() {
	printf '%s\n%s\n' "$2" "$1" | sort --check=quiet --version-sort
}

# The oldest Rust that the workspace accepts: Cargo.toml is the one place that says it.
minimum_rust() {
	sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml"
}

# Distributions ship the target's `core` prebuilt, so their compiler needs no nightly.
has_distribution_bpf() {
	[[ -x /usr/bin/cargo && -x /usr/bin/rustc ]] &&
		[[ -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/bpfel-unknown-none/lib ]]
}

# Elsewhere `core` is built from source, which takes rustup's nightly with rust-src.
has_nightly_bpf() {
	command -v rustup >/dev/null &&
		[[ -d $(rustup run nightly rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library ]]
}

# Whether what is built runs on another machine than this one.
is_cross() {
	[[ $arch != "$machine" ]]
}

# Debian has the standard library for another machine as a package of that one's (libstd-rust-web-dev:arm64);
# where it is not there, rustup has it (rustup target add).
has_distribution_std() {
	[[ -x /usr/bin/cargo && -x /usr/bin/rustc ]] &&
		[[ -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/$arch-unknown-linux-gnu/lib ]]
}
