#!/usr/bin/env bash
# What becomes of a CPU that its host doesn't run where it would say DEAD:
# tests/held.sh ELF
#
# ELF is qemu_quarantine, which cycles CPU 1 and judges itself. QEMU's gdbstub holds that
# CPU at the first instruction of `Hotplug::leave`, and lets the others run, until the
# kernel says that it has seen enough.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/halt.sh
. tests/where.sh
. tests/gdb.sh
. tests/counts.sh

elf=$1
log=${CARGO_TARGET_DIR:-target}/qemu/held.log
mkdir -p "$(dirname "$log")"
: >"$log"

# Waits until line $1 is in the log.
wait_for() {
    local until=$((SECONDS + ${TIMEOUT:-120}))
    while [ "$SECONDS" -lt "$until" ] && kill -0 "$vm" 2>/dev/null; do
        if grep -q -a -e "$1" "$log"; then
            return
        fi
        sleep 0.1
    done
    return 1
}

# The last word, on a run that did not come to its end.
fail() {
    sed 's/^/    /' "$log"
    echo "held: FAIL $1"
    echo '0 passed, 1 failed, 0 skipped, 0 not applicable'
    exit 1
}

tests/image.sh "$elf" "$elf.Image"
APPEND=held SMP=4 vm_command "$elf.Image"
port=$((20000 + RANDOM % 20000))
coproc QEMU_MONITOR { exec timeout --foreground -k 5 300 "${VM[@]}" \
    -gdb "tcp:127.0.0.1:$port" -serial "file:$log" -monitor stdio 2>>"$log"; }
vm=$QEMU_MONITOR_PID
trap 'kill "$vm" 2>/dev/null || true' EXIT
exec {monitor_out}<&"${QEMU_MONITOR[0]}" {monitor_in}>&"${QEMU_MONITOR[1]}"

leave=$(tests/llvm.sh nm "$elf" | sed -n 's/^\([0-9a-f]*\) . .*7hotplug.*5leave.*/\1/p')
[ -n "$leave" ] || fail 'no Hotplug::leave in it'
wait_for '^# hold it' || fail 'it does not begin'
base=$(image_base "$(ask_monitor 'info registers -a' | cpu_registers)")
[ -n "$base" ] || fail 'no CPU is in the Image'
at=$(printf '%x' $((base + 16#$leave)))

gdb_connect "$port"
gdb_ask 'vCont?' >/dev/null
[ "$(gdb_ask "Z1,$at,4")" = OK ] || fail 'no breakpoint'
gdb_send 'vCont;c'
stopped=$(gdb_answer 60) || fail 'no CPU leaves'
held=$(sed -n 's/.*thread:0*\([0-9a-f]*\);.*/\1/p' <<<"$stopped")
[ "$held" = 2 ] || fail "CPU 1 should have stopped: $stopped"
gdb_ask "z1,$at,4" >/dev/null
gdb_send 'vCont;c:1;c:3;c:4'
wait_for '^# let it go' || fail 'it is not told to let go'
printf '\003' >&"$gdb"
gdb_answer >/dev/null || fail 'it does not stop'
gdb_disconnect

status=0
wait "$vm" || status=$?
sed -i 's/\r$//' "$log"
passed=$(grep -c '^ok ' "$log") || true
grep -q '^ *1 .* quarantined ' "$log" || fail 'lscpu -e does not call it quarantined'
[ "$status" = 0 ] && [ "$passed" = 3 ] || fail "status $status, $passed of 3 results"
echo "$passed passed, 0 failed, 0 skipped, 0 not applicable"
