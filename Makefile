# Each target works on a fresh machine and is quick where there is nothing to do.

export CARGO_TARGET_DIR := $(CURDIR)/target
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

MACHINE := $(shell uname -m)
# What is built for: make build ARCH=aarch64 makes dist/holdfast-aarch64 on another machine, when tools/setup cross has
# installed what that takes.
ARCH ?= $(MACHINE)
export ARCH
# What make package makes packages for; make package ARCHES=x86_64 for one of them alone.
ARCHES ?= x86_64 aarch64
OTHERS := $(filter-out $(MACHINE),$(ARCHES))
# Behind the names of files that are for another machine.
SUFFIX := $(addprefix -,$(filter-out $(MACHINE),$(ARCH)))
TARGET := $(ARCH)-unknown-linux-gnu
STATIC := tools/cargo
# What tests are and run, compiled once; its sensor can be told to panic.
FASTLY := --workspace --features fault-injection --target $(TARGET)
FAST := target/$(TARGET)/fast
KERNELS ?=
TESTS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run run-server test test-long bench setup build package guest-test browser-test tools-build tools-test tools-package \
	tools-cross tools-guest foreign foreign-guest kernel-programs check build-both unit cost harness native fuzz packages reproducible

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## build and run in the foreground, observing, with the shipped policies; ARGS='…' for more
	@[ "$$(id -u)" = 0 ] || { echo "Holdfast watches the kernel, which needs root: sudo make run" >&2; exit 1; }
	@$(MAKE) --no-print-directory tools-build build
	@tools/foreground dist/holdfast run --mode observe --policy policies --output pretty $(ARGS)

run-server: tools-build build ## build and run the Team Server at http://127.0.0.1:5150, its data in target/server; ARGS='…' for more
	@echo 'Two commands more enrol this machine, from a terminal beside this one:'
	@echo '  dist/holdfast-server key create --data target/server'
	@echo '  sudo dist/holdfast run --policy policies --set uplink.url=http://127.0.0.1:5150 --set uplink.key=KEY'
	@tools/foreground dist/holdfast-server run --data target/server $(ARGS)

test: tools-test tools-package check build-both unit cost native fuzz packages ## what must hold: format, lints, unit, scenarios here and the kernel's part of them in guests, packages, a little fuzzing
	@$(FAST)/guest --scenario $(FAST)/scenario --brief yes

test-long: tools-test build harness ## fuzzing, half an hour of load, and the scenarios again and again; ROUNDS=N (10), FUZZ=SECONDS (300), SOAK=SECONDS (1800)
	@tools/memcheck
	@tools/fuzz $(or $(FUZZ),300)
	@$(FAST)/scenario run reload-a-thousand-times,outlive-a-hundred-kills,chaos-a-thousand,actor-parked,engine-docker-burst,many-processes,soak
	@$(FAST)/guest --scenario $(FAST)/scenario --kernels "5.10 6.12" --tests outlive-a-hundred-kills,chaos
	@tools/repeat $(or $(ROUNDS),10) $(FAST)/scenario run "$(TESTS)"

bench: tools-test build harness ## what the sensor costs, against its goals: instructions in a guest that counts them; start, memory and rates here, each for SECONDS (30), or at RATES; writes dist/bench/
	@mkdir -p dist/bench
	@$(FAST)/guest --scenario $(FAST)/scenario --kernels "6.12+icount 6.12+peers" --notes dist/bench/guest.json
	@cargo bench --package holdfast-policy --bench matching
	@$(MAKE) --no-print-directory cost
	@$(FAST)/scenario bench dist/bench/native.json $(or $(SECONDS),30) $(RATES)
	@$(FAST)/bench report dist/bench

reproducible: tools-build build ## builds what is committed again, in another directory and with another cargo home: the binaries have to be the same
	@tools/reproducible

setup: tools-build ## install the tools that building lacks

build: kernel-programs ## the static binaries dist/holdfast and dist/holdfast-server; ARCH=aarch64 for another machine's, dist/holdfast-aarch64 …
	@$(STATIC) build --release --target $(TARGET) --package holdfast --package holdfast-server
	@mkdir -p dist
	@for name in holdfast holdfast-server; do \
		cmp --silent target/$(TARGET)/release/$$name dist/$$name$(SUFFIX) || cp target/$(TARGET)/release/$$name dist/$$name$(SUFFIX) || exit; \
	done

package: tools-build tools-package $(if $(OTHERS),tools-cross) $(if $(filter $(MACHINE),$(ARCHES)),build) foreign ## what is installed, in dist/: deb, rpm, tar.gz, container image, for each of ARCHES (x86_64 aarch64); Helm chart
	@tools/package $(ARCHES)

# Guests that are another machine take a build of their own: only where they are asked for, or all are.
guest-test: tools-test tools-package build harness packages $(if $(KERNELS),$(if $(findstring +arm64,$(KERNELS)),foreign-guest),foreign-guest) ## all scenarios in all guest kernels (an hour); KERNELS='5.10 6.1 6.12+arm64' and TESTS=pattern narrow it
	@$(FAST)/guest --scenario $(FAST)/scenario --kernels "$(KERNELS)" --tests "$(TESTS)"

# By name alone: the browser is large, and changes by itself.
browser-test: tools-test build harness ## the Team Server's pages in a real browser, with a real sensor; pictures in dist/pages
	@tools/setup browser
	@$(FAST)/scenario run pages

tools-build:
	@tools/setup build

tools-test:
	@tools/setup test

tools-package:
	@tools/setup package

# The compiler for another machine, and its emulator.
tools-cross:
	@tools/setup cross

tools-guest:
	@tools/setup guest

foreign:
	@for arch in $(OTHERS); do $(MAKE) --no-print-directory ARCH=$$arch build || exit; done

foreign-guest: tools-cross tools-guest
	@$(MAKE) --no-print-directory ARCH=aarch64 build harness

kernel-programs:
	@tools/build-ebpf

check: kernel-programs
	cargo fmt --all --check
	cargo fmt --manifest-path ebpf/Cargo.toml --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	tools/build-ebpf clippy
	tools/check-dependencies

unit: kernel-programs
	@tools/cel-vectors target/cel-vectors.json
	@if command -v cargo-nextest >/dev/null; then $(STATIC) nextest run --cargo-profile fast $(FASTLY); \
	else $(STATIC) test --quiet --profile fast $(FASTLY); fi

# What scenarios need beside the sensor: their runner, and a sensor that can be told to panic.
harness: kernel-programs
	@$(STATIC) build --profile fast $(FASTLY)
	@cmp --silent $(FAST)/holdfast target/holdfast-fault$(SUFFIX) || cp $(FAST)/holdfast target/holdfast-fault$(SUFFIX)

# Side by side: much of a release build is one thread's work, and the profiles share nothing.
build-both: kernel-programs
	@$(MAKE) --no-print-directory build & building=$$!; $(MAKE) --no-print-directory harness && wait $$building

# What an event costs the agent, in instructions, beside what is recorded.
cost:
	@$(STATIC) bench --quiet --target $(TARGET) --package holdfast-actors --bench pipeline > target/pipeline.json
	@$(FAST)/bench compare target/pipeline.json

# Briefly, beginning from what earlier runs found; test-long does it at length.
fuzz:
	@tools/fuzz 10

# Twice, for the same bytes.
packages:
	@tools/package >/dev/null && cp dist/SHA256SUMS target/packaged-first && tools/package
	@cmp dist/SHA256SUMS target/packaged-first
	@tools/test-chart

native:
	@$(FAST)/scenario run "$(TESTS)"
