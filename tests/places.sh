#!/usr/bin/env bash
# Boots the Image with Image and device tree wherever a loader may put them:
# tests/places.sh IMAGE
#
# QEMU's own loader has fixed places; here a few instructions in memory are the
# loader. `selftest; poweroff` is a boot argument, or typed where the tree is one of
# QEMU's without any; it must end with status 0, all its checks ok.
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
. tests/outcome.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# Prints the instruction, movz or movk as $1 has it, that puts the 16 bits number $3 of
# the value $2 into register $4.
move() {
    echo $(($1 | $3 << 21 | ($2 >> (16 * $3) & 0xffff) << 5 | $4))
}

# place NAME MEMORY IMAGE_AT TREE_AT
place() {
    local name=$1 memory=$2 image_at=$3 tree_at=$4
    local log=$logs/place-$name.log tree=$logs/place-$name.dtb loader_at=$((0x48000000))
    local machine=virt,gic-version=3 at words=() why took VM
    VM=(qemu-system-aarch64 -cpu max -smp 4 -m "$memory" -nic none -display none
        -semihosting-config enable=on,target=native)
    "${VM[@]}" -M "$machine,dumpdtb=$tree" -kernel "$image" \
        -append 'exit=semihosting init="selftest; poweroff"' >/dev/null 2>&1
    # x0: the tree; x1: the Image; br x1.
    for at in 0 1 2 3; do
        words+=("$(move $((at ? 0xf2800000 : 0xd2800000)) "$tree_at" "$at" 0)")
    done
    for at in 0 1 2 3; do
        words+=("$(move $((at ? 0xf2800000 : 0xd2800000)) "$image_at" "$at" 1)")
    done
    words+=($((0xd61f0020)))
    VM+=(-M "$machine" -device "loader,addr=$loader_at,cpu-num=0"
        -device "loader,file=$image,addr=$image_at,force-raw=on")
    if [ "$tree_at" != "$ram" ]; then
        VM+=(-device "loader,file=$tree,addr=$tree_at,force-raw=on")
    fi
    for at in "${!words[@]}"; do
        VM+=(-device "loader,addr=$((loader_at + 4 * at)),data=${words[at]},data-len=4")
    done
    run_to_end "$log" "${TIMEOUT:-60}" <<<$'\n\nselftest; poweroff'
    judge_selftest "$log"
    tell "$(printf '%-24s %13s  Image at %#x, tree at %#x' "$name" "$took" "$image_at" \
        "$tree_at")" "$log"
}

# Boots the Image with the tree of dts/$1.dts, in which nothing is changed. Each pattern
# behind it must match a line.
habit() {
    local name=$1 log=$logs/place-$1.log tree=$logs/place-$1.dtb loader_at=$((0x48000000))
    local image_at=$((ram + 0x200000)) tree_at=$((ram + 0x4000000)) at words=() why took pattern VM
    dtc -q -q -f -i dts -I dts -O dtb -o "$tree" "dts/$name.dts"
    for at in 0 1 2 3; do
        words+=("$(move $((at ? 0xf2800000 : 0xd2800000)) "$tree_at" "$at" 0)")
    done
    for at in 0 1 2 3; do
        words+=("$(move $((at ? 0xf2800000 : 0xd2800000)) "$image_at" "$at" 1)")
    done
    words+=($((0xd61f0020)))
    VM=(qemu-system-aarch64 -cpu max -smp 4 -m 1G -nic none -display none
        -semihosting-config enable=on,target=native -M virt,gic-version=3
        -device "loader,addr=$loader_at,cpu-num=0"
        -device "loader,file=$image,addr=$image_at,force-raw=on"
        -device "loader,file=$tree,addr=$tree_at,force-raw=on")
    for at in "${!words[@]}"; do
        VM+=(-device "loader,addr=$((loader_at + 4 * at)),data=${words[at]},data-len=4")
    done
    run_to_end "$log" "${TIMEOUT:-60}" </dev/null
    judge_selftest "$log"
    shift
    for pattern in "$@"; do
        if [ -z "$why" ] && ! grep -q -a -E -e "$pattern" "$log"; then
            why="no line matches: $pattern"
        fi
    done
    tell "$(printf '%-24s %13s' "$name" "$took")" "$log"
}

ram=$((0x40000000))
image_size=$(od -An -t u8 -j 16 -N 8 "$image")
# QEMU puts a tree on the first byte of RAM itself.
place tree_first 1G $((ram + 0x200000)) "$ram"
place tree_behind_image 1G $((ram + 0x200000)) $((ram + 0x200000 + image_size))
place tree_at_the_end 1G $((ram + 0x3fc01000)) $((ram + 0x3ff00000))
place tree_above_4g 8G $((ram + 0x101000)) $((0x140000000))
place both_above_4g 8G $((0x180001000)) $((0x23ff00000))

# And with trees as people and firmware write them: what can't be used is left out, and
# told.
habit habits-texts 'on Stillpoint .*: 3 CPUs' "CPU 0x3 is left alone: it has failed" \
    'boot arguments: the text has no end' "'user=J.*rg' ignored: not UTF-8" \
    'console: ./serial@9000001., as /chosen has it, is none' \
    '^CPU 1 disabled' '^CPU 1 enabled'
habit habits-memory ': 2 CPUs' 'memory is left out: the memory node has a bad .reg.' \
    '1048576 KiB of memory are left out: this CPU has no addresses' \
    'KiB of memory are left out: it is in more than 64 pieces' \
    'CPU 0x2 stays off: its release word is in no memory that is reserved' \
    'CPU 0x3 stays off: its release word is in no memory that is reserved'
habit habits-redistributors ': 4 CPUs, GICv3' '1 regions of redistributors are left out' \
    'Brought up 4 of 4 CPUs' '^CPU 3 disabled' '^CPU 3 enabled'
# What is said of the texts in it has no raw control character.
habit habits-alone \
    ' on Red.u\{1b\}\[31m.nboard: 1 CPU, GICv3, nothing that starts CPUs, no power-off$' \
    'warning: CPU 0x0 is not in the device tree' 'CPU 0x1 stays off: nothing starts it' \
    'boot arguments: unknown red=.u\{1b\}\[31m$' "'loglevel=.u\{7\}' ignored: not a number" \
    '^stillpoint# nosuch.u\{1b\}\[2J$' '^nosuch.u\{1b\}\[2J: command not found$' \
    "^trace: '.u\{1b\}\[2J' is not a CPU number"

print_counts
[ "$failed" = 0 ]
