#!/usr/bin/env bash
# Boots the Image that is shipped, as its user would, and looks at what it
# prints: tests/shipped.sh IMAGE
#
# Each case is a machine, what is typed, and lines that must come, in order.
# It must end with status 0, which is what `poweroff` gives.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/counts.sh
. tests/outcome.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# case_of NAME SMP COMMANDS PATTERN...; other settings of the machine go before
# it, as in `VIRT=on case_of ...`.
case_of() {
    local name=$1 log=$logs/shipped-$1.log line=1 found why took
    local SMP=$2 INIT=$3
    shift 3
    vm_command "$image"
    run_to_end "$log" "${TIMEOUT:-20}" </dev/null
    for pattern in "$@"; do
        [ -z "$why" ] || break
        found=$(tail -n "+$line" "$log" | grep -n -m 1 -E -e "$pattern" | cut -d : -f 1) || true
        if [ -z "$found" ]; then
            why="no line from $line on matches: $pattern"
        fi
        line=$((line + ${found:-0}))
    done

    tell "$(printf '%-24s SMP=%-3s %6s' "$name" "$SMP" "$took")" "$log"
}

case_of boots_alone 1 'lscpu; poweroff' 'On-line CPU\(s\) list: +0$'
case_of boots_with_four 4 'lscpu; poweroff' 'On-line CPU\(s\) list: +0-3$'
case_of boots_with_twenty 20 'lscpu; poweroff' 'On-line CPU\(s\) list: +0-19$'
case_of cpu_leaves_and_returns 4 'chcpu -d 3; lscpu; chcpu -e 3; lscpu; poweroff' \
    'CPU 3 disabled' 'On-line CPU\(s\) list: +0-2$' 'Off-line CPU\(s\) list: +3$' \
    'CPU 3 enabled' 'On-line CPU\(s\) list: +0-3$'
case_of boot_cpu_stays 4 'chcpu -d 0; lscpu; poweroff' \
    'CPU 0 disable failed: Device or resource busy' 'On-line CPU\(s\) list: +0-3$'
case_of last_cpu_stays 1 'chcpu -d 0; lscpu; poweroff' \
    'last enabled CPU' 'On-line CPU\(s\) list: +0$'
case_of bad_input_changes_nothing 2 'chcpu -d 1-99; frobnicate; lscpu; poweroff' \
    'does not exist' 'command not found' 'On-line CPU\(s\) list: +0-1$'
case_of machine_stops_and_goes_on 4 'stop; lscpu; poweroff' 'On-line CPU\(s\) list: +0-3$'
APPEND='maxcpus=2' case_of boot_argument_limits_cpus 4 'lscpu; chcpu -e 2-3; lscpu; poweroff' \
    'On-line CPU\(s\) list: +0-1$' 'On-line CPU\(s\) list: +0-3$'
VIRT=on case_of entered_at_el2 2 'chcpu -d 1; chcpu -e 1; lscpu; poweroff' \
    'On-line CPU\(s\) list: +0-1$'
CPU=cortex-a72 case_of on_a_cortex_a72 4 'chcpu -d 1-3; chcpu -e 1-3; lscpu; poweroff' \
    'On-line CPU\(s\) list: +0-3$'

# On each GIC, in each of its views: CPUs come and go, and sleep in still points.
comes_and_stops=(8 'chcpu -d 1-7; stop; chcpu -e 1-7; stop; stop; lscpu; poweroff'
    'CPU 7 disabled' 'CPU 7 enabled' 'SGI writes: +1 for the request, [1-9][0-9]* to wake'
    'SGI writes: +1 for the request' 'On-line CPU\(s\) list: +0-7$')
GIC=2 case_of gicv2 "${comes_and_stops[@]}"
GIC=2 VIRT=on case_of gicv2_at_el2 "${comes_and_stops[@]}"
GIC=2 SECURE=on case_of gicv2_non_secure "${comes_and_stops[@]}"
SECURE=on case_of gicv3_non_secure "${comes_and_stops[@]}"
GIC=4 VIRT=on case_of gicv4 "${comes_and_stops[@]}"

# On a Raspberry Pi 4, on either of its UARTs, and ended by its watchdog: where
# semihosting is off, an exit that asks for it goes on to the board's own way.
if qemu-system-aarch64 -M help | grep -q '^raspi4b '; then
    BOARD=rpi4
    no_semihosting='-semihosting-config enable=off'
    leaves=(4 'chcpu -d 1-3; chcpu -e 1-3; lscpu; poweroff'
        'on Raspberry Pi 4 Model B: 4 CPUs, GICv2' 'On-line CPU\(s\) list: +0-3$'
        '^stillpoint: exit 0$')
    QEMU=$no_semihosting case_of rpi4_pl011 "${leaves[@]}"
    QEMU="$no_semihosting -serial null" DTB=dts/bcm2711-rpi-4-b-mini-uart.dts \
        case_of rpi4_mini_uart "${leaves[@]}"
    # QEMU ends where the board would boot again.
    QEMU="$no_semihosting -no-reboot" case_of rpi4_reset 4 reboot 'Brought up 4 of 4 CPUs'
else
    for name in rpi4_pl011 rpi4_mini_uart rpi4_reset; do
        skipped=$((skipped + 1))
        printf 'SKIP            %-24s SMP=%-3s %6s  %s\n' "$name" 4 - \
            'this QEMU has no raspi4b (it comes with version 9)'
    done
fi

print_counts
[ "$failed" = 0 ]
