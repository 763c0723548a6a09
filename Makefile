# The front door. Each target installs the Debian packages that it needs, after saying so.
SHELL := /bin/bash
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOOLS := $(TARGET)/tools
PROGRAM := $(TARGET)/release/portcullis
# Root of the machine, not of a user namespace: socket buffers as a service has them.
AS_ROOT := CARGO_TARGET_$(shell uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER="unshare -n"
export PATH := $(PATH):$(TOOLS)/usr/bin:$(TOOLS)/bin:/usr/sbin:/sbin

.PHONY: help build demo test test-kernels lint layers deny bench conformance package

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

build: ## target/release/portcullis
	@.ci/packages build
	cargo build --locked --release -p agent --bin portcullis

demo: build ## a host, a peer, a policy: allowed and denied probes as a table
	@.ci/packages demo && .ci/namespaces
	@PORTCULLIS_BIN=$(PROGRAM) cargo run --locked -q -p tests --bin demo

test: ## everything: unit, property, packets in namespaces with a real etcd
	@.ci/packages build test && .ci/namespaces
	cargo test --locked --workspace --no-fail-fast

test-kernels: ## the kernel-facing tests on Debian's 6.1 and 6.12, in QEMU (KERNELS=6.1 for one)
	@.ci/packages build kernels
	tests/kernels/run $(KERNELS)

lint: ## formatting and clippy
	@.ci/packages build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

layers: ## which crate may know which
	@.ci/packages build
	.ci/layers

deny: ## licences, sources, duplicates; advisories where their database can be reached
	.ci/deny

bench: build ## latencies, memory, idle cost, beside the figures to reach (BENCH="latency --quick")
	@.ci/packages build test && .ci/namespaces
	PORTCULLIS_BIN=$(PROGRAM) $(if $(filter 0,$(shell id -u)),$(AS_ROOT)) cargo run --locked --release -q -p tests --bin bench -- $(BENCH)

conformance: build ## an external conformance runner: CONFORMANCE=its folder, AREAS="--area failsafe …"
	@test -x "$(CONFORMANCE)/run" || { echo "set CONFORMANCE to the folder of the runner"; exit 1; }
	"$(CONFORMANCE)/run" --agent portcullis=$(PROGRAM) $(AREAS)

package: build ## target/portcullis-VERSION-ARCH.tar.gz: program, unit, documents
	.ci/package
