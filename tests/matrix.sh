#!/usr/bin/env bash
# One Image on every machine: tests/matrix.sh IMAGE [all]
#
# Boots the Image that is shipped with init="selftest; poweroff" on each machine of
# a table, and prints the Image's checksum: it is the same file everywhere. Twelve rows
# of the table have every pair of two settings between them
# (of those that QEMU can have together); the last one has many CPUs in little memory.
# With `all`, every combination.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/counts.sh
. tests/outcome.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# name         board  gic  entered  cpu         threads  memory  cpus
rows='
v2-alone       virt   2    el1      max         single   64M     1
v2-secure-8    virt   2    secure   cortex-a72  single   8G      8
v2-secure      virt   2    secure   cortex-a53  multi    1G      1
v3-small       virt   3    el1      cortex-a72  single   64M     4
v3-large       virt   3    el1      max         multi    1G      20
v3-alone       virt   3    el1      cortex-a53  single   8G      1
v3-el2         virt   3    el2      cortex-a53  single   1G      4
v3-secure      virt   3    secure   max         single   64M     4
v4-el2         virt   4    el2      max         multi    8G      4
v4-alone       virt   4    el2      cortex-a72  single   1G      1
v4-el2-large   virt   4    el2      cortex-a53  multi    64M     20
rpi4           rpi4   2    el2      cortex-a72  multi    2G      4
v3-crowded     virt   3    el1      max         multi    16M     64
'

# Every combination that QEMU has: GICv4 needs EL2, GICv2 has eight interfaces.
all_rows() {
    local gic entered cpu threads memory cpus
    for gic in 2 3 4; do
        for entered in el1 el2 secure; do
            [ "$gic$entered" != 4el1 ] && [ "$gic$entered" != 4secure ] || continue
            for cpu in cortex-a53 cortex-a72 max; do
                for threads in single multi; do
                    for memory in 64M 1G 8G; do
                        for cpus in 1 4 8 20; do
                            [ "$gic" != 2 ] || [ "$cpus" -le 8 ] || continue
                            echo "v$gic-$entered-$cpu-$threads-$memory-$cpus" virt \
                                "$gic" "$entered" "$cpu" "$threads" "$memory" "$cpus"
                        done
                    done
                done
            done
        done
    done
    echo rpi4 rpi4 2 el2 cortex-a72 multi 2G 4
    echo rpi4-single rpi4 2 el2 cortex-a72 single 2G 4
}

# Boots a row and judges it.
boot() {
    local name=$1 BOARD=$2 GIC=$3 VIRT='' SECURE='' CPU=$5 TCG=$6 MEM=$7 SMP=$8
    local log=$logs/matrix-$name.log INIT='selftest; poweroff' why took
    case $4 in
        el2) VIRT=on ;;
        secure) SECURE=on ;;
    esac
    vm_command "$image"
    run_to_end "$log" "${TIMEOUT:-60}" </dev/null
    judge_selftest "$log"
    tell "$(printf '%-14s GICv%s %-6s %-10s %-6s %4s SMP=%-3s %6s  %s' "$name" "$GIC" "$4" \
        "$CPU" "$TCG" "$MEM" "$SMP" "$took" "$checksum")" "$log"
}

checksum=$(sha256sum "$image" | cut -c 1-16)
boards=$(qemu-system-aarch64 -M help)
while read -r name board row; do
    [ -n "$name" ] || continue
    if [ "$board" = rpi4 ] && ! grep -q '^raspi4b ' <<<"$boards"; then
        skipped=$((skipped + 1))
        echo "SKIP  $name: this QEMU has no raspi4b (it comes with version 9)"
        continue
    fi
    # shellcheck disable=SC2086 # A row is words.
    boot "$name" "$board" $row
done < <(if [ "${2:-}" = all ]; then all_rows; else echo "$rows"; fi)

print_counts
[ "$failed" = 0 ]
