#!/usr/bin/env bash
# Boots an Image with the console on this terminal: what `make run` and
# `make debug` do. tests/run.sh [--debug] IMAGE [ELF]
#
# The machine is described by the variables in tests/vm.sh; TIMEOUT, in
# seconds, ends it early. The exit status is the kernel's, or 124 on time-out.
#
# QEMU's escape key is Ctrl-], not its usual Ctrl-A, which the shell's line editor
# has for "to the beginning of the line": Ctrl-] X ends the machine, Ctrl-] C is
# QEMU's monitor, and Ctrl-] twice sends one.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh

debug=
if [ "$1" = --debug ]; then
    debug=1
    shift
fi

# Who types no commands is shown what the machine can do, and then gets a prompt.
if [ -z "${INIT:-}" ] && [ -z "$debug" ]; then
    last=$((${SMP:-4} - 1))
    INIT='stop; lscpu'
    if [ "$last" -gt 0 ]; then
        INIT="stop; chcpu -d 1-$last; lscpu; chcpu -e 1-$last; stop"
    fi
fi

vm_command "$1"
VM+=(-serial mon:stdio -echr 0x1d)
echo "Ctrl-] X ends the machine, whatever it does."

if [ -n "$debug" ]; then
    VM+=(-S -gdb tcp::1234)
    # The ELF is linked at 0; QEMU loads an Image at the start of memory plus
    # its text_offset of 2 MiB.
    echo "Halted before its first instruction. In another terminal:"
    echo "  gdb-multiarch -ex 'target remote :1234' -ex 'add-symbol-file $2 -o 0x40200000'"
fi

if [ -n "${TIMEOUT:-}" ]; then
    # --foreground, or a console on a terminal couldn't be read.
    exec timeout --foreground -k 5 "$TIMEOUT" "${VM[@]}"
fi
exec "${VM[@]}"
