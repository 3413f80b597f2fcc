#!/usr/bin/env bash
# What the kernel takes: tests/size.sh ELF IMAGE
#
# The sections of the ELF, the Image as a file and in memory, and what each further
# CPU costs at run time: measured, by booting with 4 CPUs and with 8.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh

elf=$1
image=$2
unset BOARD GIC VIRT SECURE CPU ICOUNT DTB QEMU APPEND

tests/llvm.sh size -A -x "$elf"
in_memory=$(od -An -t u8 -j 16 -N 8 "$image")
echo "Image: $(stat -c %s "$image") bytes as a file, $((in_memory)) in memory"

# KiB in use with $1 CPUs: heap, stacks.
used() {
    INIT='free; poweroff' SMP=$1 MEM=1G vm_command "$image"
    timeout --foreground -k 5 60 "${VM[@]}" -serial stdio -monitor none </dev/null 2>&1 |
        tr -d '\r' | awk '$1 == "Mem:" { heap = $3 } $1 == "Stacks:" { stacks = $3 }
            END { print heap, stacks }'
}
read -r heap stacks <<<"$(used 4)"
read -r more_heap more_stacks <<<"$(used 8)"
echo "Each CPU: $(((more_heap - heap) / 4)) KiB of heap, $(((more_stacks - stacks) / 4)) KiB of stacks with their guards"
