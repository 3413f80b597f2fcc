#!/usr/bin/env bash
# All that CI runs: the stages of tests/stages.sh in order, each with its time,
# up to the first that fails. What `make check` does.
#
# A stage prints into target/check/STAGE.log, shown if it fails; with V=1, and
# for the stages that take long or install something, here at once. The last line
# is `N passed, N failed, N skipped`, summed over all tests; it is kept in
# target/check/summary too. A stage that fails without a failing test counts as
# one failure. "Not applicable" (a test that this machine can't run, by design)
# is counted apart from "skipped" (a test that should have run).
#
#   REQUIRE_ALL=1  a skipped test is a failure
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh

# A check means the same whatever machine was asked for on the command line.
unset BOARD TCG SMP MEM CPU GIC VIRT SECURE INIT APPEND DTB TEST CASE ICOUNT QEMU PROFILE
unset EARLYCON LOOM_MAX_PREEMPTIONS

logs=target/check
mkdir -p "$logs"
rm -f "$logs"/*

# Whether stage $1 prints here at once.
at_once() {
    case ${V:-}$1 in
        1* | setup | qemu-tests | qemu-gicv2 | qemu-debug | qemu-rpi4 | matrix | held | shipped-image | bad-boot) return 0 ;;
        *) return 1 ;;
    esac
}

finish() {
    if [ "$inapplicable" != 0 ]; then
        echo "not applicable here, each with its reason in $logs: $inapplicable"
    fi
    echo "$passed passed, $failed failed, $skipped skipped" | tee "$logs/summary"
    exit "$1"
}

for stage in $(tests/stages.sh); do
    log=$logs/$stage.log
    from=${EPOCHREALTIME/[.,]/}
    status=0
    if at_once "$stage"; then
        echo "$stage:"
        tests/stages.sh "$stage" 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
    else
        printf '%-16s' "$stage"
        tests/stages.sh "$stage" >"$log" 2>&1 || status=$?
    fi

    before=$failed
    skipped_before=$skipped
    add_counts "$log"
    if [ "${REQUIRE_ALL:-}" = 1 ] && [ "$skipped" != "$skipped_before" ]; then
        refused="skipped, and REQUIRE_ALL=1 says that nothing may be"
        echo "$refused" >>"$log"
        if at_once "$stage"; then
            echo "$refused"
        fi
        status=1
    fi

    took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    if at_once "$stage"; then
        printf '%-16s' "$stage"
    fi
    if [ "$status" = 0 ]; then
        printf 'ok   %8s\n' "$took"
    else
        printf 'FAIL %8s\n' "$took"
        if ! at_once "$stage"; then
            cat "$log"
        fi
        if [ "$failed" = "$before" ]; then
            failed=$((failed + 1))
        fi
        finish 1
    fi
done
finish 0
