# Sourced: watching a QEMU whose kernel can't leave, through QEMU's monitor.
# Needs bash, and VM from tests/vm.sh (or a command line of one's own); to be given an
# Image, tests/where.sh too.

# run_until_halt ELF LOG [IMAGE] runs VM until its first CPU sleeps in `boot_halt`,
# then ends it by the monitor. Sets `halt_reason` to the byte that it left in
# `boot_failure_reason`, or leaves it empty if it didn't get there within TIMEOUT
# seconds (60). The serial port goes to LOG. ELF is what was booted: its symbols
# are looked up there, relative to wherever the Image lies. Given IMAGE, the Image made
# of it, LOG says at the end where the CPUs of a machine are that didn't get there.
run_until_halt() {
    local elf=$1 log=$2 where='' monitor_in monitor_out vm halt reason pc line image
    local until=$((SECONDS + ${TIMEOUT:-60}))
    halt_reason=
    halt=$(symbol "$elf" boot_halt)
    reason=$(symbol "$elf" boot_failure_reason)
    : >"$log"

    coproc QEMU_MONITOR { exec timeout --foreground -k 5 "$((${TIMEOUT:-60} + 10))" \
        "${VM[@]}" -serial "file:$log" -monitor stdio 2>>"$log"; }
    vm=$QEMU_MONITOR_PID
    # Those of the coprocess itself don't reach subshells.
    exec {monitor_out}<&"${QEMU_MONITOR[0]}" {monitor_in}>&"${QEMU_MONITOR[1]}"

    while [ "$SECONDS" -lt "$until" ] && kill -0 "$vm" 2>/dev/null; do
        sleep 0.1
        pc=$(ask_monitor 'info registers' | sed -n 's/^ *PC=\([0-9a-f]*\).*/\1/p' | head -n 1)
        [ -n "$pc" ] || continue
        # `boot_halt` is five instructions, and an Image lies on a page boundary.
        line=$(((16#$pc - halt) & 0xfff))
        image=$((16#$pc - line - halt))
        # Other code has such addresses too: then there is no Image, whose header
        # says "ARM\x64", where it would have to lie.
        if [ "$line" -le 16 ] && [ "$(peek "/1xw $((image + 56))")" = 0x644d5241 ]; then
            halt_reason=$(peek "/1db $((image + reason))")
            break
        fi
    done
    if [ -z "$halt_reason" ] && [ -n "${3:-}" ] && kill -0 "$vm" 2>/dev/null; then
        where=$(print_where "$elf" "$3")
    fi
    # It may have ended by itself; then the signal is to hit a subshell.
    (echo quit >&"$monitor_in") 2>/dev/null || true
    wait "$vm" || true
    exec {monitor_out}<&- {monitor_in}>&-
    sed -i 's/\r$//' "$log"
    [ -z "$where" ] || printf '%s\n' "$where" >>"$log"
}

# Prints what the monitor answers to the command $1; fails if it doesn't within 5 s.
ask_monitor() {
    local line
    # The end of the answer is known by the echo of a second command.
    { printf '%s\nprint /d 424242\n' "$1" >&"$monitor_in"; } 2>/dev/null || return 0
    while IFS= read -r -t 5 line <&"$monitor_out"; do
        line=${line%$'\r'}
        [ "$line" != 424242 ] || return 0
        printf '%s\n' "$line"
    done
    return 1
}

# Prints what is at a place in the guest's memory; $1: format and address.
peek() {
    ask_monitor "xp $1" | sed -n 's/^[0-9a-f]\{16\}: *\([0-9a-fx]*\).*/\1/p'
}

# The address of symbol $2 in the ELF $1, which is linked at 0, as a number.
symbol() {
    local address
    address=$(tests/llvm.sh nm "$1" | sed -n "s/^\([0-9a-f]*\) . $2\$/\1/p")
    [ -n "$address" ] || { echo "no symbol $2 in $1" >&2; return 1; }
    echo $((16#$address))
}
