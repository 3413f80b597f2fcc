#!/usr/bin/env bash
# Boots the Image under Trusted Firmware-A: tests/rigs/tfa.sh IMAGE
#
# Debian's source of TF-A is built for QEMU's board and put in its flash. It runs at EL3,
# owns the secure half of the interrupt controller, and answers PSCI by SMC; QEMU's own
# PSCI is off. It starts the Image itself, at EL2 or EL1, or U-Boot, which has `booti`
# start the Image.
#
# Exits with 77 where something can't be had; the last line says what.
set -eu
cd "$(dirname "$0")/../.."
. tests/counts.sh
. tests/outcome.sh
. tests/rigs/debian.sh
. tests/uboot_prompt.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# Where the Image lies when TF-A starts it.
image_at=0x42000000

needs_command aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
needs_command make make
needs_command dtc device-tree-compiler
source=$(unpack_source arm-trusted-firmware)
# Its linker scripts are older than the linker's warning about segments that are writable
# and executable.
sed -i '/TF_LDFLAGS/s/--fatal-warnings/--no-warn-rwx-segments/' "$source/Makefile"
version=$(sed -n 's/^VERSION_MAJOR[^0-9]*\([0-9]*\)$/\1/p; s/^VERSION_MINOR[^0-9]*\([0-9]*\)$/.\1/p' "$source/Makefile" | tr -d '\n')

# build GIC NEXT sets `flash` to TF-A's image for this GIC that starts the Image, or
# U-Boot.
build() {
    local out=$rigs/tfa-gicv$1-$2 next arguments
    flash=$out/flash.bin
    [ ! -e "$flash" ] || return 0
    arguments=(-s -C "$source" CROSS_COMPILE=aarch64-linux-gnu- PLAT=qemu DEBUG=1 E=0
        "BUILD_BASE=$out" "QEMU_USE_GIC_DRIVER=QEMU_GICV$1" OPENSSL_DIR=/usr)
    case $2 in
        direct) arguments+=(ARM_LINUX_KERNEL_AS_BL33=1 "PRELOADED_BL33_BASE=$image_at") ;;
        uboot)
            next=$(unpack u-boot-qemu)
            next+=/usr/lib/u-boot/qemu_arm64/u-boot.bin
            arguments+=("BL33=$next")
            ;;
    esac
    timeout -k 5 600 make "${arguments[@]}" bl1 bl2 bl31 >"$out.log" 2>&1 || {
        tail -n 20 "$out.log"
        echo "TF-A does not build"
        return 1
    }
    local tool made=$out/qemu/debug
    tool=$(unpack "arm-trusted-firmware-tools:$host")
    arguments=(--tb-fw "$made/bl2.bin" --soc-fw "$made/bl31.bin")
    [ "$2" = direct ] || arguments+=(--nt-fw "$next")
    "$tool/usr/bin/fiptool" create "${arguments[@]}" "$made/fip.bin"
    # The first stage has the first 256 KiB, the package of the others follows.
    dd if="$made/bl1.bin" of="$flash.new" bs=256K conv=sync status=none
    cat "$made/fip.bin" >>"$flash.new"
    mv "$flash.new" "$flash"
}

# machine GIC EL2 sets `board` to QEMU's command with TF-A in the flash.
machine() {
    board=(qemu-system-aarch64 -M "virt,secure=on,virtualization=$2,gic-version=$1" -cpu cortex-a72
        -smp 4 -m 1G -nodefaults -display none -monitor none -no-reboot -bios "$flash")
}

# direct GIC EL2: TF-A starts the Image.
direct() {
    local log=$logs/tfa-gicv$1-el2-$2.log tree=$rigs/tfa-gicv$1-el2-$2.dtb why took
    build "$1" direct
    machine "$1" "$2"
    # The tree's boot arguments are nobody's to write here: QEMU gives its own to firmware.
    "${board[@]}" -machine "dumpdtb=$tree" -serial null >/dev/null 2>&1
    fdtput -t s "$tree" /chosen bootargs "init=\"$rig_commands\""
    VM=("${board[@]}" -dtb "$tree" -device "loader,file=$image,addr=$image_at,force-raw=on")
    run_to_end "$log" "${TIMEOUT:-180}" </dev/null
    judge_rig "$log"
    tell "TF-A $version, GICv$1, EL2 $2  $took" "$log"
}

# by_uboot GIC: TF-A starts U-Boot, which starts the Image.
by_uboot() {
    local log=$logs/tfa-gicv$1-uboot.log why=
    build "$1" uboot
    machine "$1" on
    boot_by_uboot "$log" "init=\"$rig_commands\"" "$image" "${board[@]}"
    judge_rig "$log"
    tell "TF-A $version, GICv$1, U-Boot" "$log"
}

direct 3 on
direct 3 off
direct 2 on
direct 2 off
by_uboot 3
by_uboot 2
print_counts
[ "$failed" = 0 ]
