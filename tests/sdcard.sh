#!/usr/bin/env bash
# Writes the files for a Raspberry Pi 4's SD card: tests/sdcard.sh IMAGE DIRECTORY
#
# They go into the first partition (FAT), beside the firmware's own start4.elf and
# fixup4.dat, which are the Raspberry Pi company's and not here.
set -eu
cd "$(dirname "$0")/.."

image=$1
directory=$2

mkdir -p "$directory"
cp "$image" "$directory/kernel8.img"
cp "$(tests/dtb.sh dts/bcm2711-rpi-4-b.dts)" "$directory/bcm2711-rpi-4-b.dtb"
cat >"$directory/config.txt" <<'CONFIG'
# Stillpoint on a Raspberry Pi 4.
arm_64bit=1
kernel=kernel8.img
device_tree=bcm2711-rpi-4-b.dtb

# The PL011 on pins 8 and 10 of the header, at 115200 baud; without this line
# Bluetooth has it. The mini UART, on the same pins otherwise, is stdout-path =
# "serial1" in the tree, and needs enable_uart=1 for its clock.
dtoverlay=disable-bt
enable_uart=1
CONFIG
echo 'init="selftest"' >"$directory/cmdline.txt"

echo "In $directory, for the first partition of an SD card:"
ls -l "$directory" | awk 'NR > 1 { printf "  %8d  %s\n", $5, $9 }'
echo "Beside them, from https://github.com/raspberrypi/firmware/tree/master/boot:"
echo "  start4.elf, fixup4.dat, and overlays/disable-bt.dtbo"
