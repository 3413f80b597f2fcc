#!/usr/bin/env bash
# Types faster than the shell reads: tests/typed.sh IMAGE
#
# Whatever is pasted, a line is run as it was typed, or it is refused with a word: none
# is cut, joined with another, or lost without a word. QEMU's serial port takes as much
# as the kernel has room for, so that the verdict doesn't depend on time.
set -eu
cd "$(dirname "$0")/.."
. tests/vm.sh
. tests/counts.sh
. tests/outcome.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# paste NAME: what comes from standard input is typed; leaves what was printed in the
# file `log`, and what commands printed (all but prompts with what was typed behind
# them) in the file `printed`.
paste() {
    local SMP=4
    log=$logs/typed-$1.log printed=$logs/typed-$1.printed
    vm_command "$image"
    run_to_end "$log" "${TIMEOUT:-120}"
    tr -d '\a' <"$log" | grep -a -v -e '^stillpoint# ' -e '^\[' >"$printed" || true
}

# ran PATTERN COUNT: adds to `why` unless the lines that match PATTERN are these many.
ran() {
    local count
    count=$(grep -a -c -E -e "$1" "$printed") || true
    if [ -z "$why" ] && [ "$count" != "$2" ]; then
        why="$count lines match $1, not $2"
    fi
}

# What comes before the kernel does: the first byte is in the UART then.
paste early <<<$'echo early\npoweroff'
ran '^early$' 1
ran 'not found' 0
tell "$(printf '%-24s %13s' early "$took")" "$log"

# A thousand commands while CPUs come and go: each number comes once, in its order, or
# its line was refused.
paste thousand < <(
    echo 'chcpu -d 1-3; chcpu -e 1-3'
    seq -f 'echo L%04gL' 1 1000
    echo 'poweroff'
)
refused=$(grep -c '^sh: line ignored' "$printed") || true
ran '^L[0-9]{4}L$' $((1000 - refused))
ran 'L' $((1000 - refused))
ran 'not found' 0
if [ -z "$why" ] && ! grep '^L' "$printed" | sort -c -u; then
    why='not in their order'
fi
tell "$(printf '%-24s %13s' thousand_lines "$took")" "$log"

# A line of 10,000 characters is refused; the next one isn't swallowed with it.
paste long < <(
    printf 'echo %s\n' "$(printf 'x%.0s' {1..10000})"
    echo 'echo after'
    echo 'poweroff'
)
ran '^sh: line ignored: it is longer' 1
ran '^after$' 1
ran 'not found' 0
ran '^x' 0
tell "$(printf '%-24s %13s' long_line "$took")" "$log"

print_counts
[ "$failed" = 0 ]
