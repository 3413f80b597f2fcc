#!/usr/bin/env bash
# What takes too long for `make check`, or needs a nightly toolchain: what
# `make nightly` does. Every stage runs, whatever came of the others; each prints
# into target/nightly/STAGE.log, shown if it fails. tests/nightly.sh STAGE... runs
# only those.
#
# The last line is `N passed, N failed, N skipped`, in stages. A stage whose tool
# can't be had is skipped, with the reason.
#
#   FUZZ_SECONDS   how long the fuzzer runs                   60
#   REQUIRE_ALL=1  a skipped stage is a failure
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS BOARD TCG SMP MEM CPU GIC VIRT SECURE INIT APPEND DTB TEST ICOUNT QEMU

# The status of a stage that can't run here; its last line says why.
skip=77

# The newest toolchain there is, because Miri and the sanitizers are in no other.
needs_nightly() {
    case $'\n'$(rustup toolchain list) in
        *$'\n'nightly[-\ ]* | *$'\n'nightly) return ;;
    esac
    echo "nightly: adding the Rust toolchain nightly"
    if ! rustup --quiet toolchain install nightly --profile minimal --no-self-update; then
        echo "the nightly toolchain can't be had"
        exit "$skip"
    fi
}

# $1: a component of the nightly toolchain.
needs_component() {
    needs_nightly
    if rustup component list --toolchain nightly --installed | grep -q "^$1\(-\|\$\)"; then
        return
    fi
    echo "nightly: adding the Rust component $1"
    if ! rustup --quiet component add --toolchain nightly "$1"; then
        echo "$1 can't be had"
        exit "$skip"
    fi
}

needs_cargo_fuzz() {
    needs_nightly
    if command -v cargo-fuzz >/dev/null; then
        return
    fi
    echo "nightly: adding cargo-fuzz"
    if ! cargo +nightly install --quiet --locked cargo-fuzz; then
        echo "cargo-fuzz can't be had"
        exit "$skip"
    fi
}

# From real trees on, with the tokens and names that a blob is made of. A loop is
# an input that takes 10 s, where others take microseconds.
stage_fuzz() {
    needs_cargo_fuzz
    local seeds=$PWD/target/nightly/seeds tree
    mkdir -p "$seeds" fuzz/corpus/device_tree
    for tree in dts/*.dts; do
        cp "$(tests/dtb.sh "$tree")" "$seeds"
    done
    cargo +nightly fuzz run device_tree fuzz/corpus/device_tree "$seeds" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -max_len=16384 \
        -dict=fuzz/device_tree.dict -print_final_stats=1
}

stage_mutants() {
    tests/mutants_verdicts.sh
    tests/mutants.sh
}

stage_loom() {
    LOOM_MAX_PREEMPTIONS=4 tests/stages.sh loom
}

# The pure modules; and the scheduler, its timers and locks, as far as a short test has
# them: threads that hand a baton around are slow here, and never end, which Miri takes for
# leaks. What starts a program (dtc, QEMU, git) or reads the sources can't run here.
stage_miri() {
    needs_component rust-src
    needs_component miri
    CARGO_TARGET_DIR=target/miri MIRIFLAGS=-Zmiri-disable-isolation \
        cargo +nightly miri test --lib
    CARGO_TARGET_DIR=target/miri \
        MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-permissive-provenance' \
        cargo +nightly miri test --test host_ends --test host_wait_queue
}

stage_qemu-el2() {
    VIRT=on SMP='1 4 20' tests/qemu.sh
}

# Time is the instruction count, on one host thread: slow, so at two sizes, and a short
# storm.
stage_qemu-icount() {
    ICOUNT=1 TIMEOUT=600 APPEND=seconds=2 SMP='1 4' tests/qemu.sh
}

stage_qemu-gicv2() {
    GIC=2 SMP='1 2 4 8' tests/qemu.sh
}

# With EL3 the GIC has two security states, and shows us the non-secure one.
stage_qemu-secure() {
    GIC=2 SECURE=on SMP='1 4 8' tests/qemu.sh
    SECURE=on SMP='1 4 20' tests/qemu.sh
}

stage_qemu-rpi4() {
    BOARD=rpi4 SMP=4 tests/qemu.sh
}

# All of them under the lock validator.
stage_qemu-debug() {
    PROFILE=dev APPEND='rounds=50 seconds=20' TIMEOUT=600 SMP='1 4 20' tests/qemu.sh
}

# Ten minutes each, the debug build under the lock validator; the seed is in the log.
stage_storm() {
    local profile size
    for profile in release dev; do
        for size in 4 8 20; do
            PROFILE=$profile APPEND=seconds=600 TIMEOUT=1200 TEST=qemu_storm CASE=mixture \
                SMP=$size V=1 tests/qemu.sh
        done
    done
}

# Every combination of what the matrix of `make check` has in pairs.
stage_matrix() {
    make --no-print-directory build
    cargo run --quiet -p stillpoint-rig -- matrix "${CARGO_TARGET_DIR:-target}/Image" all
}

# As a guest of Xen, which has no place for a pending bit and its own ideas of addresses.
stage_xen() {
    make --no-print-directory build
    tests/rigs/xen.sh "${CARGO_TARGET_DIR:-target}/Image"
}

# Under firmware that keeps the secure world's interrupts, and answers PSCI by SMC.
stage_tfa() {
    make --no-print-directory build
    tests/rigs/tfa.sh "${CARGO_TARGET_DIR:-target}/Image"
}

stage_uboot() {
    make --no-print-directory build
    local output
    output=$(tests/uboot.sh "${CARGO_TARGET_DIR:-target}/Image" all) || {
        echo "$output"
        return 1
    }
    echo "$output"
    case $output in SKIP*) exit "$skip" ;; esac
}

stage_qemu-a72() {
    CPU=cortex-a72 SMP='1 4 20' tests/qemu.sh
}

stages() {
    sed -n 's/^stage_\([a-z0-9-]*\)() {$/\1/p' tests/nightly.sh
}

if [ $# = 0 ]; then
    # shellcheck disable=SC2046 # One word a stage.
    set -- $(stages)
fi
logs=target/nightly
mkdir -p "$logs"

tests/setup.sh
for stage in "$@"; do
    if ! declare -F "stage_$stage" >/dev/null; then
        echo "no stage of that name: $stage; there are:" $(stages)
        exit 1
    fi
    log=$logs/$stage.log
    from=${EPOCHREALTIME/[.,]/}
    printf '%-16s' "$stage"
    # In a shell of its own, with `set -e` in force: it isn't in a condition.
    set +e
    (
        set -e
        "stage_$stage"
    ) >"$log" 2>&1
    status=$?
    set -e
    took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    case $status in
        0)
            passed=$((passed + 1))
            printf 'ok   %8s\n' "$took"
            ;;
        "$skip")
            skipped=$((skipped + 1))
            printf 'SKIP %8s  %s\n' "$took" "$(tail -n 1 "$log")"
            ;;
        *)
            failed=$((failed + 1))
            printf 'FAIL %8s\n' "$took"
            cat "$log"
            ;;
    esac
    sed -n 's/^nightly: /    /p' "$log"
done

echo "$passed passed, $failed failed, $skipped skipped"
if [ "${REQUIRE_ALL:-}" = 1 ] && [ "$skipped" != 0 ]; then
    echo "REQUIRE_ALL=1 says that nothing may be skipped"
    exit 1
fi
[ "$failed" = 0 ]
