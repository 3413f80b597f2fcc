#!/usr/bin/env bash
# What a parked CPU does, seen from outside: tests/parked.sh ELF IMAGE
#
# Boots the Image that is shipped on QEMU's raspi4b, parks the secondaries, and
# looks: their PC lies in the pen (by QEMU's monitor), their MMU and caches are off
# (SCTLR, by its gdbstub), and the host has next to nothing to do.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/halt.sh
. tests/gdb.sh
. tests/counts.sh
. tests/outcome.sh

elf=$1
image=$2
log=${CARGO_TARGET_DIR:-target}/qemu/parked.log
mkdir -p "$(dirname "$log")"
: >"$log"

# Clock ticks of the host, a hundred a second, in which nothing happens, and how
# many of them QEMU may run.
readonly WATCHED=300 ALLOWED=45

check() {
    local why=
    [ "$2" = yes ] || why='is not so'
    tell "$1" /dev/null
}

# Waits until line $1 is in the log.
wait_for() {
    local until=$((SECONDS + 30))
    while [ "$SECONDS" -lt "$until" ]; do
        if grep -q -a -e "$1" "$log"; then
            return
        fi
        sleep 0.1
    done
    return 1
}

# Ticks that process $1 has run.
ticks() {
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

BOARD=rpi4 INIT='chcpu -d 1-3' vm_command "$image"
port=$((20000 + RANDOM % 20000))
coproc QEMU_MONITOR { exec "${VM[@]}" -gdb "tcp:127.0.0.1:$port" \
    -serial "file:$log" -monitor stdio 2>>"$log"; }
vm=$QEMU_MONITOR_PID
# It has ended by itself unless something here failed.
trap 'kill "$vm" 2>/dev/null || true' EXIT
exec {monitor_out}<&"${QEMU_MONITOR[0]}" {monitor_in}>&"${QEMU_MONITOR[1]}"

parked=no
wait_for 'CPU 3 disabled' && parked=yes
check 'CPUs 1 to 3 are disabled' "$parked"

before=$(ticks "$vm")
sleep $((WATCHED / 100))
ran=$(($(ticks "$vm") - before))
check "parked CPUs sleep: QEMU ran $ran of $WATCHED ticks" \
    "$([ "$ran" -le "$ALLOWED" ] && echo yes)"

start=$(symbol "$elf" pen_start)
end=$(symbol "$elf" pen_end)
all=$(ask_monitor 'info registers -a' | sed -n 's/^ *PC=\([0-9a-f]*\).*/\1/p')
for cpu in 1 2 3; do
    pc=$((16#$(sed -n "$((cpu + 1))p" <<<"$all")))
    # An Image lies on a page boundary, as the pen does in it.
    base=$((pc / 4096 * 4096 - start))
    inside=no
    if [ "$(peek "/1xw $((base + 56))")" = 0x644d5241 ] && [ $((pc - base)) -lt "$end" ]; then
        inside=yes
    fi
    check "the PC of CPU $cpu is in the pen" "$inside"
done

gdb_connect "$port"
for cpu in 1 2 3; do
    # M, C and I.
    sctlr=$(gdb_register SCTLR "$cpu")
    check "MMU and caches of CPU $cpu are off" "$([ $((sctlr & 0x1005)) = 0 ] && echo yes)"
done
sctlr=$(gdb_register SCTLR 0)
check 'those of CPU 0 are on' "$([ $((sctlr & 0x1005)) = $((0x1005)) ] && echo yes)"
gdb_disconnect

echo quit >&"$monitor_in"
# How QEMU ends when told to is not what is tested.
wait "$vm" || true
[ "$failed" = 0 ] || sed 's/^/    /' "$log"
print_counts
[ "$failed" = 0 ]
