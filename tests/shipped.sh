#!/usr/bin/env bash
# Boots the Image that is shipped, as its user would, and looks at what it
# prints: tests/shipped.sh IMAGE
#
# Each case is a machine, what is typed, and lines that must come, in order.
# It must end with status 0, which is what `poweroff` gives when all went well.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/counts.sh
. tests/outcome.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# case_of NAME SMP COMMANDS PATTERN...; other settings of the machine go before
# it, as in `VIRT=on case_of ...`. A pattern behind `! ` is one that no line may match.
# STATUS is the status that it must end with.
case_of() {
    local name=$1 log=$logs/shipped-$1.log why took wanted=${STATUS:-0}
    local SMP=$2 INIT=$3
    shift 3
    vm_command "$image"
    run_to_end "$log" "${TIMEOUT:-20}" </dev/null
    if [ "$why" = "ended with status $wanted" ]; then
        why=
    elif [ -z "$why" ] && [ "$wanted" != 0 ]; then
        why="ended with status 0 instead of $wanted"
    fi
    find_lines "$log" "$@"
    tell "$(printf '%-24s SMP=%-3s %6s' "$name" "$SMP" "$took")" "$log"
}

# find_lines LOG PATTERN... sets `why`, if it says nothing yet, to the first that LOG
# hasn't.
find_lines() {
    local log=$1 line=1 found pattern
    shift
    for pattern in "$@"; do
        [ -z "$why" ] || break
        if [ "$pattern" != "${pattern#! }" ]; then
            if grep -q -E -e "${pattern#! }" "$log"; then
                why="a line matches: ${pattern#! }"
            fi
            continue
        fi
        found=$(tail -n "+$line" "$log" | grep -n -m 1 -E -e "$pattern" | cut -d : -f 1) || true
        if [ -z "$found" ]; then
            why="no line from $line on matches: $pattern"
        fi
        line=$((line + ${found:-0}))
    done
}

# What `make run` shows whoever sits at the terminal: the tour, as typed and in order,
# on one screen of 50 lines with what follows it; then each key must reach the kernel.
# Ctrl-A goes to the beginning of the line: `cho it` becomes `echo it`.
the_tour() {
    local log=$logs/shipped-the_tour.log typed=$logs/shipped-keys why='' status=0 tries=0 lines
    local from=${EPOCHREALTIME/[.,]/} pid SMP=4
    rm -f "$typed"
    mkfifo "$typed"
    (unset INIT && TIMEOUT=${TIMEOUT:-60} exec tests/run.sh "$image" <"$typed" >"$log" 2>&1) &
    pid=$!
    exec 4>"$typed"
    until grep -q '^stillpoint# $' <(tr '\r' '\n' <"$log"; echo) || [ $tries = 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    lines=$(wc -l <"$log")
    printf 'cho it arrives\001e\npoweroff\n' >&4
    exec 4>&-
    wait $pid || status=$?
    rm -f "$typed"
    sed -i 's/\r$//' "$log"
    judge_status "$status" "${TIMEOUT:-60}"
    if [ -z "$why" ] && [ "$lines" -gt 49 ]; then
        why="$lines lines, and the prompt: more than a screen"
    elif [ -z "$why" ] && head -n "$lines" "$log" | grep -q '.\{121\}'; then
        why='a line is longer than 120 columns'
    fi
    find_lines "$log" 'Ctrl-\] X ends the machine' 'Stillpoint .* on .*: 4 CPUs' \
        'Brought up 4 of 4 CPUs in [0-9]+ us: online 0-3' \
        '^stillpoint# stop$' '^Time to fn: ' \
        '^stillpoint# chcpu -d 1-3$' \
        'CPU1 down in [0-9.]+ ms, interrupts off for [0-9.]+ ms$' '^CPU 1 disabled$' \
        'CPU2 down in ' '^CPU 2 disabled$' 'CPU3 down in ' '^CPU 3 disabled$' \
        '^stillpoint# lscpu$' 'On-line CPU\(s\) list: +0$' 'Model name: +max \(emulated\)$' \
        '^stillpoint# chcpu -e 1-3$' 'CPU1 up in [0-9.]+ ms$' '^CPU 1 enabled$' \
        'CPU2 up in ' '^CPU 2 enabled$' 'CPU3 up in ' '^CPU 3 enabled$' \
        '^stillpoint# stop$' '^Time to fn: ' "^Type 'help'" '^it arrives$' '^stillpoint# poweroff$' \
        '! prep:hardware'
    took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    tell "$(printf '%-24s SMP=%-3s %6s' the_tour "$SMP" "$took")" "$log"
}

# The lines of each walk that `trace` shows add up to what its last line says.
walks_add_up() {
    local log=$logs/shipped-walks_add_up.log SMP=4 why took
    local INIT='chcpu -d 1,3; chcpu -e 3; trace 3; trace 1; poweroff'
    vm_command "$image"
    run_to_end "$log" "${TIMEOUT:-20}" </dev/null
    if [ -z "$why" ]; then
        # A nanosecond may be lost in each line, and a microsecond in the last.
        why=$(awk '
            / us( |$)/ && / on CPU/ { for (at = 1; at < NF; at++) if ($(at + 1) == "us") sum += $at }
            / CPU[0-9]+ (up|down) in / && sum {
                walks++
                for (at = 1; at < NF; at++) if ($at == "in") whole = 1000 * $(at + 1)
                if (sum < whole - 1 || sum > whole + 1)
                    bad = bad sprintf("; walk %d: the lines make %.3f us of %.3f", walks, sum, whole)
                sum = 0
            }
            END {
                if (walks != 5) bad = bad "; " walks + 0 " walks instead of 5"
                print substr(bad, 3)
            }' "$log")
    fi
    find_lines "$log" '^stillpoint# trace 3$' 'down  stop:request' 'down  stop:gather' \
        'down  stop:mask' 'down  init:online' 'down  stop:exit' 'down  hand-over' \
        'down  sync:alive' 'down  return' 'CPU3 down in .*, interrupts off for'
    # Control may see it leave at once, or later.
    find_lines "$log" 'CPU3   dead'
    tell "$(printf '%-24s SMP=%-3s %6s' walks_add_up "$SMP" "$took")" "$log"
}

the_tour
walks_add_up

case_of boots_alone 1 'lscpu; poweroff' 'On-line CPU\(s\) list: +0$'
case_of says_one_cpu 1 poweroff 'Stillpoint .*: 1 CPU, GICv3'
case_of states_fits_a_screen 4 'states; poweroff' 'prep:percpu +up 4 ' '^     no teardown: ' \
    '! .{101}'
STATUS=2 case_of empty_command_is_an_exit 2 'lscpu ;; lscpu' \
    "sh: syntax error near unexpected token ';'" '! Architecture'
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

# What init= comes to is what the machine ends with, if its last command ends it; and a
# mistake in it doesn't leave a prompt behind that nobody sees.
STATUS=1 case_of last_status_is_the_exit 2 'lscpu; chcpu -d 0; poweroff' 'disable failed'
STATUS=127 case_of unknown_is_an_exit 2 'nosuch; exit' 'nosuch: command not found' "Try 'help'"
STATUS=7 case_of exit_with_a_number 2 'nosuch; exit 7' 'command not found'
STATUS=2 case_of syntax_error_is_an_exit 2 'lscpu; stop | cat' \
    "sh: syntax error: '\|' is not supported" '! Architecture' '! On-line'
STATUS=2 case_of init_that_is_no_text_is_an_exit 2 $'echo \xfc; poweroff' \
    'warning: boot arguments: boot argument .init=.* ignored: not UTF-8' '! Type .help'
STATUS=127 case_of mistyped_end_is_an_exit 2 'lscpu; powerof' 'powerof: command not found'
case_of comments_are_passed_over 2 'echo a # echo b; exit 3
poweroff' '^a$' '! ^b$'

# loglevel= shows messages below it, as in Linux; commands print all the same.
APPEND=loglevel=0 case_of loglevel_0_says_nothing 2 'chcpu -d 1; poweroff' \
    'CPU 1 disabled' '! Stillpoint 0' '! Brought up' '! down in'
APPEND='quiet nonsense' case_of quiet_says_no_warning 2 'lscpu; poweroff' \
    'On-line CPU\(s\) list: +0-1$' '! Brought up' '! unknown'
APPEND='loglevel=5 nonsense' case_of loglevel_5_warns 2 'lscpu; poweroff' \
    'warning: boot arguments: unknown nonsense' '! Brought up'
APPEND=loglevel=7 case_of loglevel_7_shows_the_steps 2 'chcpu -d 1; poweroff' \
    'CPU0   up    init:online' 'CPU1   up    prep:hardware  on CPU0' 'CPU1 up in' \
    'Brought up 2 of 2' 'CPU1   down  sched:active   on CPU1' 'CPU1 down in' 'CPU 1 disabled'
# What is printed doesn't count as bringing up. By instruction count it is 57 us, and
# was 412 with the printing, whatever the host does.
ICOUNT=1 APPEND=loglevel=7 case_of printing_is_not_bringing_up 4 poweroff \
    'CPU3   up    sched:active' 'Brought up 4 of 4 CPUs in [0-9]{1,2} us'
CPU=cortex-a72 case_of on_a_cortex_a72 4 'chcpu -d 1-3; chcpu -e 1-3; lscpu; poweroff' \
    'On-line CPU\(s\) list: +0-3$'

# A console that is named and isn't there takes no output away.
APPEND=earlycon=pl011,0x48000000 case_of earlycon_is_memory 2 'lscpu; poweroff' \
    'warning: boot arguments: earlycon= is passed over: 0x48000000 is memory$' \
    'On-line CPU\(s\) list: +0-1$'
APPEND=earlycon=pl011,0x9040000 case_of earlycon_is_nothing 2 'lscpu; poweroff' \
    'earlycon= is passed over: no UART answers at 0x9040000$' 'On-line CPU\(s\) list: +0-1$'
APPEND=earlycon=uart8250,mmio32,0x9040000 case_of earlycon_is_no_16550 2 poweroff \
    'earlycon= is passed over: no UART answers at 0x9040000$'
APPEND=earlycon=pl011,0x1000000000000 case_of earlycon_is_too_far 2 poweroff \
    'earlycon= is passed over: this CPU has no address 0x1000000000000$'
DTB=dts/console-absent.dts case_of console_is_nothing 4 'lscpu; poweroff' \
    'warning: console: no UART answers at 0x9040000: no input, and output by the early console$' \
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
