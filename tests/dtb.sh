#!/bin/sh
# Compiles device trees: tests/dtb.sh FILE.dts... Prints what it made, a path a
# line, in target/dts.
set -eu

out=${CARGO_TARGET_DIR:-target}/dts
mkdir -p "$out"
for source in "$@"; do
    blob=$out/$(basename "$source" .dts).dtb
    dtc -q -i dts -I dts -O dtb -o "$blob.$$" "$source"
    mv "$blob.$$" "$blob"
    echo "$blob"
done
