#!/bin/sh
# Makes the flat arm64 Image that boot loaders take: tests/image.sh ELF IMAGE
#
# QEMU's -kernel boots an Image like any other loader does; given an ELF it
# would jump to its entry without the device tree in x0.
#
# On the way the ELF's section `.symbols`, which linker.ld reserves, is filled
# with what backtraces name functions by; src/symbols.rs says what the text looks
# like. The ELF itself stays as it is.
set -eu

elf=$1
image=$2
if [ "$image" -nt "$elf" ] && [ "$image" -nt "$0" ]; then
    exit 0
fi
llvm=$(dirname "$0")/llvm.sh
# Bytes, not characters, whatever the user's language.
export LC_ALL=C

# Renamed when it is whole: two runs of one test kernel may come here at once.
part=$image.$$
trap 'rm -f "$part" "$part.elf" "$part.symbols"' EXIT

# Functions, by address: `offset name`. Names are shortened to what a person
# looks for (no hash of the compiler's, no escapes of its mangling) and cut at 90
# bytes. Of several names for one address the first counts.
symbols() {
    "$llvm" nm --demangle --defined-only --numeric-sort "$elf" |
        sed -n -e 's/^0*\([0-9a-f][0-9a-f]*\) [tTwW] /\1 /p' |
        sed -e 's/\.llvm\.[0-9]*$//' -e 's/ (\.llvm\.[0-9]*)$//' -e 's/::h[0-9a-f]\{16\}$//' \
            -e 's/\$LT\$/</g' -e 's/\$GT\$/>/g' -e 's/\$RF\$/\&/g' -e 's/\$BP\$/*/g' \
            -e 's/\$C\$/,/g' -e 's/\$u20\$/ /g' -e 's/\$u7b\$/{/g' -e 's/\$u7d\$/}/g' \
            -e 's/\$LP\$/(/g' -e 's/\$RP\$/)/g' -e 's/\$u5b\$/[/g' -e 's/\$u5d\$/]/g' \
            -e 's/\$u27\$//g' -e 's/\$u3b\$/;/g' -e 's/\.\./::/g' \
            -e 's/\([ :]\)_\([<{]\)/\1\2/g' |
        awk '$1 != last { print substr($0, 1, length($1) + 91); last = $1 }'
}

# Without the names that tell least: those of libraries. A line without a name
# stays where a nameless function begins, or it would be taken for a part of the
# one before.
without_libraries() {
    awk '{ mine = /stillpoint|qemu_|^[0-9a-f]+ [a-z_0-9]+$/ }
        mine { print }
        !mine && !nameless { print $1 }
        { nameless = !mine }' "$1"
}

room=$("$llvm" size -A -d "$elf" | awk '$1 == ".symbols" { print $2 }')
if [ -z "$room" ]; then
    echo "$0: $elf has no section .symbols: was it linked by linker.ld?" >&2
    exit 1
fi
symbols >"$part.symbols"
size=$(wc -c <"$part.symbols")
if [ "$size" -gt "$room" ]; then
    echo "$0: symbols of $elf: $size bytes, room for $room: those of libraries are left out" >&2
    without_libraries "$part.symbols" >"$part.elf"
    mv "$part.elf" "$part.symbols"
    size=$(wc -c <"$part.symbols")
    if [ "$size" -gt "$room" ]; then
        echo "$0: that leaves $size bytes: give .symbols more room in linker.ld" >&2
        exit 1
    fi
fi
# The rest is zero, which ends the text.
truncate -s "$room" "$part.symbols"

"$llvm" objcopy --update-section ".symbols=$part.symbols" "$elf" "$part.elf"
"$llvm" objcopy -O binary "$part.elf" "$part"
mv "$part" "$image"
