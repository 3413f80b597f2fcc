#!/usr/bin/env bash
# Boots the Image as U-Boot's `booti` does: tests/uboot.sh IMAGE [all]
#
# Debian's U-Boot for QEMU is the firmware; the Image lies in memory, the device
# tree is U-Boot's own copy, near the top of it. With `all`, at both exception levels and
# with both interrupt controllers.
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
. tests/outcome.sh
. tests/uboot_prompt.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
firmware=/usr/lib/u-boot/qemu_arm64/u-boot.bin
mkdir -p "$logs"

if [ ! -e "$firmware" ]; then
    echo "SKIP: no U-Boot for QEMU (Debian's package u-boot-qemu)"
    echo "0 passed, 0 failed, 1 skipped, 0 not applicable"
    exit
fi

# boot GIC EL2 MEMORY
boot() {
    local log=$logs/uboot-gicv$1-el2-$2-$3.log why
    boot_by_uboot "$log" 'exit=semihosting init="selftest; poweroff"' "$image" \
        qemu-system-aarch64 -M "virt,gic-version=$1,virtualization=$2" -cpu max -smp 4 -m "$3" \
        -nic none -display none -semihosting-config enable=on,target=native -bios "$firmware" \
        -monitor none
    judge_selftest "$log"
    tell "booti by $(grep -m 1 -a -o 'U-Boot 20[0-9.]*' "$log"), GICv$1, EL2 $2, $3" "$log"
}

boot 3 off 1G
if [ "${2:-}" = all ]; then
    boot 3 on 1G
    boot 2 off 1G
    boot 2 on 6G
fi
print_counts
[ "$failed" = 0 ]
