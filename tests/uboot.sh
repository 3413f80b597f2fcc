#!/usr/bin/env bash
# Boots the Image as U-Boot's `booti` does: tests/uboot.sh IMAGE
#
# Debian's U-Boot for QEMU is the firmware; the Image lies in memory, the device
# tree is U-Boot's own copy, near the top of it.
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
. tests/outcome.sh

image=$1
log=${CARGO_TARGET_DIR:-target}/qemu/uboot.log
firmware=/usr/lib/u-boot/qemu_arm64/u-boot.bin
image_at=0x40400000
mkdir -p "$(dirname "$log")"
: >"$log"

if [ ! -e "$firmware" ]; then
    echo "SKIP: no U-Boot for QEMU (Debian's package u-boot-qemu)"
    echo "0 passed, 0 failed, 1 skipped, 0 not applicable"
    exit
fi

coproc UBOOT { exec timeout --foreground -k 5 "${TIMEOUT:-60}" qemu-system-aarch64 \
    -M virt,gic-version=3 -cpu max -smp 4 -m 1G -nic none -display none \
    -semihosting-config enable=on,target=native -bios "$firmware" \
    -device "loader,file=$image,addr=$image_at,force-raw=on" \
    -serial stdio -monitor none 2>&1; }
vm=$UBOOT_PID
exec {from}<&"${UBOOT[0]}" {to}>&"${UBOOT[1]}"

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

why=
if ! expect 'Hit any key to stop autoboot:'; then
    why='U-Boot does not start'
else
    say ''
    # The hash may be followed by what the key did.
    expect '=> ' || why='U-Boot has no prompt'
    say "setenv bootargs 'exit=semihosting init=\"selftest; poweroff\"'"
    expect '=> ' || why='U-Boot takes no variable'
    say "booti $image_at - \${fdtcontroladdr}"
    cat <&"$from" >>"$log" || true
fi
status=0
wait "$vm" || status=$?
exec {from}<&- {to}>&-
sed -i 's/\r$//' "$log"
if [ -z "$why" ]; then
    judge_status "$status" "${TIMEOUT:-60}"
    judge_selftest "$log"
fi
tell "booti by $(grep -m 1 -a -o 'U-Boot 20[0-9.]*' "$log")" "$log"
print_counts
[ "$failed" = 0 ]
