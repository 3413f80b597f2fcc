#!/bin/sh
# Makes the flat arm64 Image that boot loaders take: tests/image.sh ELF IMAGE
#
# QEMU's -kernel boots an Image like any other loader does; given an ELF it
# would jump to its entry without the device tree in x0.
set -eu

elf=$1
image=$2
if [ "$image" -nt "$elf" ]; then
    exit 0
fi
# Renamed when it is whole: two runs of one test kernel may come here at once.
"$(dirname "$0")/llvm.sh" objcopy -O binary "$elf" "$image.$$"
mv "$image.$$" "$image"
