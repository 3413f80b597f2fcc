#!/usr/bin/env bash
# The stages of the check, each a function without arguments, in the order in
# which they run. tests/stages.sh STAGE runs one; tests/stages.sh alone lists
# them.
set -eu
cd "$(dirname "$0")/.."
. tests/build.sh
# They would replace the link flags of .cargo/config.toml without a word.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
# What the kernel prints to before it has read the device tree. The same value
# for every stage, or each would build the kernel again.
export EARLYCON=${EARLYCON:-pl011,0x9000000}

target=(--target aarch64-unknown-none)

# Sets `tests` to cargo's arguments for the test files of one kind; fails if
# there are none, because cargo takes a pattern without a match for an error.
tests_of_kind() {
    tests=()
    compgen -G "tests/$1_*.rs" >/dev/null || return 1
    tests=(--test "$1_*")
}

# Runs a command of the rig.
rig() {
    cargo run --quiet -p stillpoint-rig -- "$@"
}

stage_setup() {
    tests/setup.sh
}

stage_fmt() {
    cargo fmt --check
}

stage_clippy-host() {
    cargo clippy --all-targets -- -D warnings
}

# Not --all-targets: host tests need std, which the target hasn't.
stage_clippy-target() {
    tests_of_kind qemu || true
    cargo clippy --release "${target[@]}" --lib --bins ${tests[@]+"${tests[@]}"} -- -D warnings
    # What is shipped, which hasn't the feature that tests turn on.
    cargo clippy --release "${target[@]}" --lib --bins -- -D warnings
    # The lock validator is in debug builds only.
    as_debug_build
    cargo clippy "${variant[@]}" "${target[@]}" --features internals --lib -- -D warnings
}

stage_clippy-loom() {
    tests_of_kind loom || true
    RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom \
        cargo clippy --release --lib ${tests[@]+"${tests[@]}"} -- -D warnings
}

stage_docs-host() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --document-private-items --features internals --lib
}

stage_docs-target() {
    RUSTDOCFLAGS=-Dwarnings \
        cargo doc --release --no-deps --document-private-items --features internals \
        --lib "${target[@]}"
}

stage_host-tests() {
    cargo test --lib --test 'host_*' -- ${TEST:+"$TEST"}
}

stage_loom() {
    if ! tests_of_kind loom; then
        echo "there are no models (tests/loom_*.rs)"
        echo "0 passed, 0 failed, 1 skipped, 0 not applicable"
        return
    fi
    local built
    built=$(RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom built_tests --release "${tests[@]}")
    # Two at a time: the longest has one test that takes as long as all others.
    export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3}
    tac <<<"$built" | xargs -P 2 -n 1 tests/program.sh
}

stage_build() {
    make --no-print-directory build
}

stage_qemu-tests() {
    SMP='1 2 4 20' tests/qemu.sh
}

# The short ones once more, on a machine with a GICv2. The still points also where
# software is entered at EL2, and where the GIC shows us its non-secure view.
stage_qemu-gicv2() {
    export GIC=2
    TEST='boot qemu_stop threads errors cycles sgi excess' APPEND=rounds=50 SMP='1 4 8' tests/qemu.sh
    VIRT=on TEST='qemu_stop qemu_sgi' SMP=4 tests/qemu.sh
    SECURE=on TEST='qemu_stop qemu_sgi' SMP='4 8' tests/qemu.sh
}

# Those with the most locks once more in a debug build, under the lock validator: it has
# nothing to say. The others in `make nightly`.
stage_qemu-debug() {
    PROFILE=dev TEST='qemu_boot threads cycles rcu storm' APPEND='rounds=10 seconds=10' \
        SMP=4 tests/qemu.sh
}

# And on a Raspberry Pi 4, as QEMU has it. A test without the tool is skipped.
stage_qemu-rpi4() {
    local image=${CARGO_TARGET_DIR:-target}/Image
    if ! qemu-system-aarch64 -M help | grep -q '^raspi4b '; then
        echo "SKIP: this QEMU has no raspi4b (it comes with version 9)"
        echo "0 passed, 0 failed, 1 skipped, 0 not applicable"
        return
    fi
    BOARD=rpi4 TEST='boot stop threads errors cycles sgi pen poison' APPEND=rounds=50 SMP=4 tests/qemu.sh
    rig parked "${CARGO_TARGET_DIR:-target}/aarch64-unknown-none/release/stillpoint" "$image"
}

# The same file on every machine, started by another loader, and anywhere.
stage_matrix() {
    rig matrix "${CARGO_TARGET_DIR:-target}/Image"
    tests/uboot.sh "${CARGO_TARGET_DIR:-target}/Image"
    rig places "${CARGO_TARGET_DIR:-target}/Image"
}

# A CPU that its host doesn't run, as QEMU's gdbstub has it.
stage_held() {
    local elf
    elf=$(built_tests --release "${target[@]}" --test qemu_quarantine | grep /qemu_quarantine)
    rig held "$elf"
}

stage_shipped-image() {
    rig shipped "${CARGO_TARGET_DIR:-target}/Image"
    rig typed "${CARGO_TARGET_DIR:-target}/Image"
}

# The second kernel has no early console: a variant, so that it and the others don't
# build each other anew each time.
stage_bad-boot() {
    local dir=${CARGO_TARGET_DIR:-target}
    local ours=$dir/aarch64-unknown-none/release/stillpoint
    local mute=$dir/mute/aarch64-unknown-none/release/stillpoint
    as_variant mute 'debug="none"'
    EARLYCON='' cargo build "${variant[@]}" "${target[@]}" --bin stillpoint
    tests/image.sh "$mute" "$mute.Image"
    rig bad-boot "$ours" "$dir/Image" "$mute" "$mute.Image"
}

if [ $# = 0 ]; then
    sed -n 's/^stage_\([a-z0-9-]*\)() {$/\1/p' "$0"
else
    "stage_$1"
fi
