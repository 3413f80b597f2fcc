# Sourced, with tests/halt.sh: where the CPUs of a kernel are that doesn't end, as
# QEMU's monitor tells it. It needs nothing of the kernel, which may be dead. Needs
# bash, and `monitor_in` and `monitor_out` of tests/halt.sh.

# The longest chain of calls that is followed.
readonly MOST_FRAMES=32

# print_where ELF IMAGE stops the machine and prints where each CPU is: its interrupt
# mask, then a line for each call as the kernel's own backtraces have them. ELF is
# what IMAGE was made of.
print_where() {
    local registers base cpu pc frame link state next count
    local -a starts=() names=()
    if ! ask_monitor stop >/dev/null; then
        echo 'where: QEMU does not answer'
        return
    fi
    registers=$(ask_monitor 'info registers -a' | cpu_registers)
    base=$(image_base "$registers")
    if [ -z "$base" ]; then
        echo 'where: no CPU is in the Image'
        return
    fi
    read_symbols "$1" "$2"
    while read -r cpu pc frame link state; do
        # The I bit of PSTATE.
        if [ $((16#$state & 0x80)) = 0 ]; then
            state=on
        else
            state=masked
        fi
        echo "where: CPU $cpu, interrupts $state"
        print_place 0 $((16#$pc)) 0
        # A function that has made no record of its own yet is missed by the chain.
        printf '  x30 is 0x%s%s\n' "$link" "$(place $((16#$link)) 4)"
        frame=$((16#$frame))
        for ((count = 1; count <= MOST_FRAMES; count++)); do
            # A frame record: the caller's, and the address to return to (AAPCS64).
            # Stacks lie behind the Image, which is mapped where it is.
            [ "$frame" -gt "$base" ] && [ $((frame % 8)) = 0 ] || break
            read -r next link <<<"$(peek_pair "$frame")"
            [ -n "$link" ] && [ $((link)) != 0 ] || break
            print_place "$count" $((link)) 4
            frame=$((next))
        done
    done <<<"$registers"
}

# From what QEMU says of all registers: a line for each CPU, with its number, PC, x29,
# x30 and PSTATE.
cpu_registers() {
    awk '
        /^CPU#[0-9]/ { cpu = substr($1, 5); next }
        { for (at = 1; at <= NF; at++) if (split($at, part, "=") == 2) value[part[1]] = part[2] }
        /^PSTATE=/ { print cpu, value["PC"], value["X29"], value["X30"], value["PSTATE"] }'
}

# The address of the Image, as a number: an Image lies on a boundary of 2 MiB and has
# "ARM\x64" in its header. Nothing if no CPU is in it.
image_base() {
    local pc at
    while read -r _ pc _; do
        for ((at = 16#$pc & ~0x1fffff; at >= (16#$pc & ~0x1fffff) - 0x200000; at -= 0x200000)); do
            if [ "$at" -ge 0 ] && [ "$(peek "/1xw $((at + 56))")" = 0x644d5241 ]; then
                echo "$at"
                return
            fi
        done
    done <<<"$1"
}

# The two words at address $1.
peek_pair() {
    ask_monitor "xp /2xg $1" | sed -n 's/^[0-9a-f]\{16\}: *\(0x[0-9a-f]*\) \(0x[0-9a-f]*\).*/\1 \2/p'
}

# Fills `starts` and `names` with the functions of the Image $2, made of the ELF $1:
# src/symbols.rs says how they lie in it.
read_symbols() {
    local at size offset name
    read -r at size <<<"$(tests/llvm.sh size -A -d "$1" | awk '$1 == ".symbols" { print $3, $2 }')"
    while read -r offset name; do
        starts+=($((16#$offset)))
        names+=("$name")
    done < <(tail -c "+$((at + 1))" "$2" | head -c "$size" | tr -d '\0')
}

# A line of a chain of calls: $1 its number, $2 an address, $3 as for `place`.
print_place() {
    printf '  #%-2d 0x%016x%s\n' "$1" "$2" "$(place "$2" "$3")"
}

# Where in the code the address $1 is; for one that a call returns to $2 is 4, so that
# it belongs to the function that called.
place() {
    local offset=$(($1 - base)) low=0 high=${#starts[@]} middle
    while [ "$low" -lt "$high" ]; do
        middle=$(((low + high) / 2))
        if [ "${starts[middle]}" -le $((offset - $2)) ]; then
            low=$((middle + 1))
        else
            high=$middle
        fi
    done
    if [ "$low" = 0 ]; then
        printf '  (not code)'
    else
        printf '  +%#x  %s+%#x' "$offset" "${names[low - 1]}" $((offset - starts[low - 1]))
    fi
}
