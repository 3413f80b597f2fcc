#!/usr/bin/env bash
# Cargo's runner for the target: boots a kernel in QEMU and judges it.
# tests/runner.sh ELF
#
# A test kernel (an ELF named qemu_*) says in the first lines of its source what
# it needs and what it will do; docs/testing.md lists the words. It passes if
#
#   1. it ends by itself, in time, with the status it announced (0 unless told),
#   2. its KTAP output is whole: one plan `1..N`, N > 0, then N results numbered
#      in order, none of them `not ok` (a kernel that announced a failing status
#      needs no plan: it doesn't come to its end),
#   3. every OUTPUT pattern is matched by a line, in the order given.
#
# A program that isn't a test announces `PLAN: none`: 1 and 3 hold for it.
#
# A kernel that can't end announces `HALTS: REASON` instead: it passes if its CPU
# comes to sleep in `boot_halt` with that number in `boot_failure_reason`; QEMU is
# then ended. For it too 3 holds.
#
# A kernel with CASES is run once for each, or for the one that the variable CASE
# names; the boot argument `case=NAME` tells it which.
#
# The last line says what was counted, or why it failed, with every `not ok` that was
# seen, whatever the end. Any other ELF is the kernel itself: it is booted, and its
# status handed on.
#
# The machine is described by the variables in tests/vm.sh.
set -eu
. tests/vm.sh
. tests/halt.sh
. tests/where.sh
. tests/watch.sh
. tests/directives.sh
. tests/counts.sh

elf=$1
name=$(basename "$elf")
name=${name%-????????????????}
out=${CARGO_TARGET_DIR:-target}/qemu
source=tests/$name.rs

# The values of a word in the source's opening comment, one a line; the last one.
values() {
    case $name in qemu_*) directive "$source" "$1" "${CASE:-}" ;; esac
}
value() {
    values "$1" | tail -n 1
}

# The last word on a test that didn't pass, with the results that say so. $1: exit
# status, $2: why.
fail() {
    local broken=
    if [ -f "${log:-}" ]; then
        broken=$(sed -n 's/^not ok /; not ok /p' "$log" | tr -d '\n')
    fi
    echo "runner: FAIL $2$broken"
    exit "$1"
}

if [ -z "${CASE:-}" ] && [ -n "$(value CASES)" ]; then
    for each in $(cases "$source"); do
        echo "runner: case $each"
        status=0
        log=$(CASE=$each "$0" "$elf") || status=$?
        printf '%s\n' "$log"
        [ "$status" = 0 ] || exit "$status"
        add_counts <(sed -n 's/^runner: ok //p' <<<"$log")
    done
    echo "runner: ok $(print_counts)"
    exit
fi

# What a test asks for is stronger than the environment; lists add up.
for word in MEM CPU GIC VIRT SECURE ICOUNT DTB; do
    wish=$(value "$word")
    if [ -n "$wish" ]; then
        declare "$word=$wish"
    fi
done
APPEND="${CASE:+case=$CASE }$(values APPEND | tr '\n' ' ')${APPEND:-}"
QEMU="$(values QEMU | tr '\n' ' ')${QEMU:-}"
TIMEOUT=${TIMEOUT:-$(value TIMEOUT)}
TIMEOUT=${TIMEOUT:-60}
if [ -z "${SMP:-}" ]; then
    SMP=$(value SMP)
    case " ${SMP:-4} " in
        *' 4 '*) SMP=4 ;;
        *) SMP=${SMP%% *} ;;
    esac
fi
wanted=$(value STATUS)
wanted=${wanted:-0}
patterns=$(values OUTPUT)
halts=$(value HALTS)
hangs=$(value HANGS)
if [ -n "$hangs" ]; then
    wanted=124
fi
ends=yes
if [ "$wanted" != 0 ] || [ -n "$halts" ] || [ "$(value PLAN)" = none ]; then
    ends=
    [ -n "$patterns" ] || fail 1 "STATUS, HALTS, HANGS or PLAN without OUTPUT: any early end would pass"
fi

# A version of QEMU on which it can't mean anything, and why.
read -r version why <<<"$(value NOT_ON)"
if [ -n "$version" ]; then
    case $(qemu-system-aarch64 --version) in
        "QEMU emulator version $version."*)
            echo "ok 1 - ${CASE:-$name} # SKIP QEMU $version: $why"
            echo "runner: ok 0 passed, 0 failed, 1 skipped, 0 not applicable"
            exit
            ;;
    esac
fi

mkdir -p "$out"
log=$out/$name${CASE:+-$CASE}-smp$SMP.log
tests/image.sh "$elf" "$elf.Image"
vm_command "$elf.Image"

if [ -n "$halts" ]; then
    run_until_halt "$elf" "$log" "$elf.Image"
    cat "$log"
    if [ "$halt_reason" != "$halts" ]; then
        fail 1 "boot_failure_reason is ${halt_reason:-none within $TIMEOUT s} instead of $halts"
    fi
    status=$wanted
else
    vm=
    trap '[ -z "$vm" ] || kill "$vm" 2>/dev/null || true' EXIT
    run_watched "$elf" "$elf.Image" "$log" "$TIMEOUT" "$hangs"
    if [ -n "$hangs" ] && ! grep -q -E -e "$hangs" "$log"; then
        fail 1 "no line matches: $hangs"
    fi
fi

case $status in
    "$wanted") ;;
    124 | 137) fail "$status" "timed out after $TIMEOUT s, SMP=$SMP" ;;
esac

case $name in
    qemu_*) ;;
    *) exit "$status" ;;
esac

if [ "$status" != "$wanted" ]; then
    # A wrong 0 must not look like a pass.
    [ "$status" != 0 ] || status=1
    fail "$status" "ended with status $status instead of $wanted"
fi

# Prints four counts, or why the output isn't a pass.
verdict=$(awk -v needs_plan="${ends:+1}" '
    /^1\.\.[0-9]+/ {
        plans++
        plan = substr($1, 4) + 0
        if (plan == 0 && /not applicable/) whole = 1
        next
    }
    /^Bail out!/ { why = why "; " $0 }
    /^(not )?ok [0-9]+/ {
        number = ($1 == "not" ? $3 : $2) + 0
        if (number != ++seen) why = why "; result " number " where " seen " was due"
        if ($1 == "not") failed++
        else if (/#.*not applicable/) inapplicable++
        else if (/# *SKIP/) skipped++
        else passed++
    }
    END {
        if (whole && plans == 1 && seen == 0 && why == "") { print "0 0 0 1"; exit }
        if (needs_plan && plans != 1) why = why "; " plans + 0 " plan lines"
        if (plans == 1 && needs_plan && plan != seen) why = why "; " seen + 0 " of " plan " results"
        if (needs_plan && seen == 0) why = why "; nothing was tested"
        # Ending as announced is a result too.
        if (!needs_plan) passed++
        if (failed > 0) why = why "; " failed " of the results"
        if (why != "") print "FAIL " substr(why, 3)
        else print passed + 0, failed + 0, skipped + 0, inapplicable + 0
    }' "$log")
case $verdict in
    FAIL*) fail 1 "${verdict#FAIL }" ;;
esac

line=1
while IFS= read -r pattern; do
    [ -n "$pattern" ] || continue
    found=$(tail -n "+$line" "$log" | grep -n -m 1 -E -e "$pattern" | cut -d : -f 1) || true
    [ -n "$found" ] || fail 1 "no line from $line on matches: $pattern"
    line=$((line + found))
done <<<"$patterns"

read -r passed failed skipped inapplicable <<<"$verdict"
echo "runner: ok $passed passed, $failed failed, $skipped skipped, $inapplicable not applicable"
