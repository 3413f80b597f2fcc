#!/bin/sh
# Runs a tool of the toolchain's own LLVM: tests/llvm.sh TOOL ARGUMENT...
#
# The system's binutils need not know aarch64; rustup's `llvm-tools` do, and
# rust-toolchain.toml asks for them.
set -eu

tool=$1
shift
host=$(rustc -vV | sed -n 's/^host: //p')
exec "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-$tool" "$@"
