#!/usr/bin/env bash
# Boots an Image as a loader does that gets the device tree wrong:
# tests/bad_boot.sh ELF IMAGE MUTE_ELF MUTE_IMAGE
#
# Each case puts a doctored tree into memory and jumps to the Image's first byte
# with some address in x0, without QEMU's own loader, which would not hand over
# such a tree. The CPU must end asleep in `boot_halt`, the reason in
# `boot_failure_reason`, after exactly one line on the early console; after none
# with the second Image, which was built with EARLYCON= and so has no console. QEMU
# takes semihosting calls, and a boot that makes one unasked ends there.
#
# Where the tree's own boot arguments say `exit=semihosting`, a boot that is refused ends
# with status 101 after the one line; where nobody takes the call it sleeps all the same.
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
. tests/outcome.sh
. tests/halt.sh

elf=$1 image=$2 mute_elf=$3 mute_image=$4
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"
export TIMEOUT=${TIMEOUT:-20}

# Of `BootFailure` in src/arch/aarch64/failure.rs.
panicked=14 bad_device_tree=15 no_memory=16 bad_address_map=17 no_device=18

# Where things go. What a loader runs last is `adr x0, tree; b image`.
image_at=$((0x40200000)) loader_at=$((0x44000000)) tree_at=$((0x44001000))

good=$logs/bad_boot.dtb
bad=$logs/bad_boot-doctored.dtb
qemu=(qemu-system-aarch64 -M virt,gic-version=3 -cpu max -m 256M -nic none -display none
    -semihosting-config enable=on,target=native)
"${qemu[@]}" -machine "dumpdtb=$good" >/dev/null 2>&1

# Copies the good tree, puts the big-endian word $2 at byte $1, and so on.
doctor() {
    cp "$good" "$bad"
    while [ $# -gt 0 ]; do
        local bytes
        bytes=$(printf '%08x' "$2" | sed 's/../\\x&/g')
        printf '%b' "$bytes" | dd of="$bad" bs=1 seek="$1" conv=notrunc status=none
        shift 2
    done
}

# set_vm IMAGE X0 sets VM to a machine that enters IMAGE with X0, which is from `tree_at`
# on, or `null`, or `nowhere`, where no memory is.
set_vm() {
    local set_x0 branch offset
    VM=("${qemu[@]}" -device "loader,file=$1,addr=$image_at,force-raw=on"
        -device "loader,file=$bad,addr=$tree_at,force-raw=on")
    if [ "$2" = null ]; then
        # QEMU starts a CPU with x0 at 0.
        VM+=(-device "loader,addr=$image_at,cpu-num=0")
    else
        if [ "$2" = nowhere ]; then
            set_x0=$((0xd2ac0000)) # movz x0, #0x6000, lsl #16
        else
            offset=$((tree_at + $2 - loader_at))
            set_x0=$((0x10000000 | (offset & 3) << 29 | (offset >> 2) << 5)) # adr x0
        fi
        branch=$((0x14000000 | ((image_at - loader_at - 4) >> 2 & 0x3ffffff)))
        VM+=(-device "loader,addr=$loader_at,data=$((branch << 32 | set_x0)),data-len=8"
            -device "loader,addr=$loader_at,cpu-num=0")
    fi
}

# judge_halt REASON sets `why` unless that is how it halted.
judge_halt() {
    why=
    if [ "$halt_reason" != "$1" ]; then
        why="boot_failure_reason is ${halt_reason:-none within $TIMEOUT s} instead of $1"
    fi
}

# judge_line LOG LINE adds to `why` unless LINE is all that is in LOG.
judge_line() {
    local printed
    printed=$(cat "$1")
    if [ -z "$why" ] && { [ "$(wc -l <"$1")" != 1 ] || ! [[ $printed =~ ^stillpoint:\ $2$ ]]; }; then
        why="not the one line: $2"
    fi
}

# case_of NAME ELF IMAGE X0 REASON [LINE]; X0 is as for `set_vm`. LINE is all that may be
# printed, an extended regular expression.
case_of() {
    local name=$1 log=$logs/bad_boot-$1.log from=${EPOCHREALTIME/[.,]/} why took
    set_vm "$3" "$4"
    run_until_halt "$2" "$log"
    judge_halt "$5"
    if [ $# -ge 6 ]; then
        judge_line "$log" "$6"
    elif [ -z "$why" ] && [ -s "$log" ]; then
        why="it has no console, and printed"
    fi
    took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    tell "$(printf '%-24s %13s' "$name" "$took")" "$log"
}

# refused NAME REASON LINE SOURCE boots with the tree of dts/virt-small.dtsi and SOURCE
# behind it: asked for a status; asked where nobody takes the call; and not asked.
refused() {
    local name=$1 log=$logs/bad_boot-$1.log why took arguments heard
    for arguments in exit=semihosting ''; do
        dtc -q -q -f -i dts -I dts -O dtb -o "$bad" <(printf '%s\n' '/dts-v1/;' \
            '/include/ "virt-small.dtsi"' "&chosen { bootargs = \"$arguments\"; };" "$4")
        set_vm "$image" 0
        VM+=(-m 1G)
        if [ -n "$arguments" ]; then
            run_to_end "$log" "$TIMEOUT" </dev/null
            if [ "$why" = 'ended with status 101' ]; then
                why=
            else
                why="${why:-ended with status 0} instead of status 101"
            fi
            judge_line "$log" "$3"
            tell "$(printf '%-24s %13s' "$name" "$took")" "$log"
            VM+=(-semihosting-config enable=off)
        fi
        local from=${EPOCHREALTIME/[.,]/}
        run_until_halt "$elf" "$log"
        judge_halt "$2"
        judge_line "$log" "$3"
        took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
        heard=${arguments:+unheard}
        tell "$(printf '%-24s %13s' "$name-${heard:-unasked}" "$took")" "$log"
    done
}

both_of() {
    local name=$1 x0=$2 reason=$3 line=$4
    case_of "$name" "$elf" "$image" "$x0" "$reason" "$line"
    case_of "$name-mute" "$mute_elf" "$mute_image" "$x0" "$reason"
}

size=$(stat -c %s "$good")
doctor
both_of no_tree null $bad_device_tree 'no device tree: x0 is 0 at entry'
case_of misaligned "$elf" "$image" 4 $bad_device_tree \
    'bad device tree: its address 0x44001004 is not a multiple of 8'
doctor 0 0xd00dfeee
both_of bad_magic 0 $bad_device_tree 'bad device tree: not a device tree: magic 0xd00dfeee'
doctor 4 0
case_of no_size "$elf" "$image" 0 $bad_device_tree 'bad device tree: impossible total size 0x0'
doctor 4 $((2 * 1024 * 1024 + 1))
case_of too_large "$elf" "$image" 0 $bad_device_tree \
    'bad device tree: impossible total size 0x200001'
# What a loader leaves that stopped in the middle: the header, and then nothing.
doctor
truncate -s 256 "$bad"
truncate -s "$size" "$bad"
both_of truncated 0 $bad_device_tree 'bad device tree: bad name of the property at 0x[0-9a-f]+'
doctor 8 0x7fffffff
case_of structure_elsewhere "$elf" "$image" 0 $bad_device_tree \
    'bad device tree: the structure block is out of bounds'
doctor 12 0xfffffff0
case_of strings_elsewhere "$elf" "$image" 0 $bad_device_tree \
    'bad device tree: the strings block is out of bounds'
# A console where the memory is.
sed 's/reg = <0x00 0x9000000 0x00 0x1000>/reg = <0x00 0x41000000 0x00 0x1000>/' \
    dts/virt-gicv3-smp4.dts >"$logs/bad_boot.dts"
dtc -q -I dts -O dtb -o "$bad" "$logs/bad_boot.dts"
case_of device_in_memory "$elf" "$image" 0 $bad_address_map \
    'bad device tree: a device at 0x41000000, where it has memory'
# A tree that calls all addresses memory, those of its only console too: that can't be,
# and is told there all the same.
sed 's/reg = <0x00 0x40000000 0x00 0x40000000>/reg = <0x00 0x00 0x00 0x80000000>/' \
    dts/virt-gicv3-smp4.dts >"$logs/bad_boot.dts"
dtc -q -I dts -O dtb -o "$bad" "$logs/bad_boot.dts"
for each in "$elf $image" "$mute_elf $mute_image"; do
    read -r this_elf this_image <<<"$each"
    case_of "all_is_memory-$(basename "$this_image")" "$this_elf" "$this_image" 0 $bad_address_map \
        'bad device tree: a device at 0x9000000, where it has memory'
done
# A tree, but one that says nothing: a root without anything in it.
: >"$bad"
printf '%b' '\xd0\x0d\xfe\xed\0\0\0\x48\0\0\0\x38\0\0\0\x48\0\0\0\x28\0\0\0\x11' >>"$bad"
printf '%b' '\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\x10' >>"$bad"
printf '%b' '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >>"$bad"
printf '%b' '\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x09' >>"$bad"
both_of no_memory 0 $no_memory 'no free memory of [0-9]+ bytes for the stacks of 1 CPUs'

# Not one line, but all that is known about the fault; here the reason counts.
case_of nothing_there-mute "$mute_elf" "$mute_image" nowhere $panicked

# Trees that can be read, of machines that can't be booted.
refused bad_gic $no_device 'no usable interrupt controller: the GIC node has a bad .reg.' \
    '&gic { reg = <0 1>; };'
refused no_timer $no_device 'no usable timer: no usable timer node' '/ { timer { compatible = "none"; }; };'
refused bad_psci_method $no_device 'no usable PSCI: the PSCI node has a bad .method.' \
    '&psci { method = "svc"; };'
refused memory_over_mmio $bad_address_map \
    'bad device tree: a device at 0x9000000, where it has memory' \
    '/ { memory@9000000 { device_type = "memory"; reg = <0 0x9000000 0 0x10000>; }; };'
refused bad_reservation $bad_device_tree 'bad device tree: the reserved-memory node has a bad .reg.' \
    '/ { reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges; x@0 { reg = <1 2 3>; }; }; };'
refused no_memory_left $no_memory 'no free memory of [0-9]+ bytes for the stacks of 4 CPUs' \
    '/ { memory@40000000 { reg = <0 0x40000000 0 0x10000>; }; };'
# Its line comes out although the console that the tree names isn't there.
refused no_memory_no_console $no_memory 'no free memory of [0-9]+ bytes for the stacks of 4 CPUs' \
    '/ { memory@40000000 { reg = <0 0x40000000 0 0x10000>; }; }; &absent { status = "okay"; };
    &chosen { stdout-path = "/serial@9040000"; };'

print_counts
[ "$failed" = 0 ]
