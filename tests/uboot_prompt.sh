# Sourced, with tests/outcome.sh: U-Boot's prompt. Needs bash.

# boot_by_uboot LOG BOOTARGS IMAGE COMMAND... runs a machine whose firmware is U-Boot, and
# has `booti` start IMAGE, which a loader of QEMU's puts into memory, with U-Boot's own
# copy of the device tree. The console is in LOG. Sets `why` to what is wrong, which is
# nothing if the machine ends with status 0.
boot_by_uboot() {
    local log=$1 arguments=$2 image=$3 at=0x48000000 status=0 from to vm
    shift 3
    : >"$log"
    coproc UBOOT { exec timeout --foreground -k 5 "${TIMEOUT:-60}" "$@" \
        -device "loader,file=$image,addr=$at,force-raw=on" -serial stdio 2>&1; }
    vm=$UBOOT_PID
    exec {from}<&"${UBOOT[0]}" {to}>&"${UBOOT[1]}"
    why=
    if ! expect 'Hit any key to stop autoboot:'; then
        why='U-Boot does not start'
    else
        say ''
        # The hash may be followed by what the key did.
        expect '=> ' || why='U-Boot has no prompt'
        say "setenv bootargs '$arguments'"
        expect '=> ' || why='U-Boot takes no variable'
        say "booti $at - \${fdtcontroladdr}"
        cat <&"$from" >>"$log" || true
    fi
    wait "$vm" || status=$?
    exec {from}<&- {to}>&-
    sed -i 's/\r$//' "$log"
    if [ -z "$why" ]; then
        judge_status "$status" "${TIMEOUT:-60}"
    fi
}

# Reads on until the text $1 has come.
expect() {
    local text='' char
    while IFS= read -r -N 1 -t 30 -u "$from" char; do
        printf '%s' "$char" >>"$log"
        text+=$char
        case $text in *"$1") return ;; esac
    done
    return 1
}

say() {
    printf '%s\n' "$1" >&"$to"
}
