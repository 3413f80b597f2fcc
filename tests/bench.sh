#!/usr/bin/env bash
# The figures, beside Linux's: tests/bench.sh
#
# Boots the bench kernel at each size, in real time at SMP=2, 4, 8 and 16 and
# with the instruction count as the clock at 2, 4, 16 and 64. Prints each BENCH
# line as the kernel printed it, with the clock and the host's load; by instruction
# count also with Linux's figure (benches/linux.tsv) and the ratio. Then a table. In
# real time there is nothing to compare with: Linux's figures are of another day, on a
# host that did something else.
#
#   SMP     only these sizes
#   ICOUNT  `1`: only by instruction count; `0`: only in real time
set -eu
cd "$(dirname "$0")/.."
# They would replace the link flags of .cargo/config.toml without a word.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
. tests/vm.sh

dir=${CARGO_TARGET_DIR:-target}
only=${SMP:-}
clocks='real icount'
case ${ICOUNT:-} in
    1) clocks=icount ;;
    0) clocks=real ;;
esac

echo 'Building the bench kernel.'
cargo build --release --target aarch64-unknown-none --bench kernel
elf=$(find "$dir/aarch64-unknown-none/release/deps" -name 'kernel-*' ! -name '*.*' \
    -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
"$RIG" image "$elf" "$dir/bench-Image"

lines=$dir/bench.txt
: >"$lines"
for clock in $clocks; do
    case $clock in
        real) sizes='2 4 8 16' ICOUNT='' ;;
        icount) sizes='2 4 16 64' ICOUNT=1 ;;
    esac
    for SMP in ${only:-$sizes}; do
        vm_command "$dir/bench-Image"
        VM+=(-serial stdio -monitor none)
        load=$(cut -d ' ' -f 1 /proc/loadavg)
        status=0
        timeout --foreground -k 5 300 "${VM[@]}" </dev/null >"$dir/bench.log" 2>&1 || status=$?
        if [ "$status" != 0 ]; then
            tail -n 20 "$dir/bench.log"
            echo "bench: SMP=$SMP by $clock ended with status $status" >&2
            exit 1
        fi
        sed -n 's/\r$//; /^BENCH,/p' "$dir/bench.log" |
            awk -F '[,=]' -v OFS= -v clock="$clock" -v load="$load" '
                BEGIN {
                    while ((getline line < "benches/linux.tsv") > 0) {
                        if (line !~ /^#/ && split(line, word, "\t") == 4)
                            linux[word[1] "," word[2] "," word[3]] = word[4]
                    }
                }
                {
                    op = smp = median = ""
                    for (at = 1; at < NF; at++) {
                        if ($at == "op") op = $(at + 1)
                        if ($at == "smp") smp = $(at + 1)
                        if ($at == "median_us") median = $(at + 1)
                    }
                    key = op "," clock "," smp
                    tail = ""
                    if (clock == "icount" && key in linux)
                        tail = sprintf(",linux_us=%s,ratio=%.1f", linux[key], linux[key] / median)
                    print $0 ",clock=" clock ",load=" load tail
                }' >"$dir/bench.new"
        cat "$dir/bench.new"
        cat "$dir/bench.new" >>"$lines"
    done
done

echo
cat <<'END'
median, p99  microseconds; by icount: thousands of instructions of all CPUs
Linux        Linux's median; ratio: Linux's over ours, more is better. By icount only:
             real times are comparable within one run, and Linux is not in this one
x floor      the median in floors: a bare SGI to all other CPUs and their answers, which
             is the least that it takes to reach them all

END
awk -F ',' '
    {
        delete field
        for (at = 3; at <= NF; at++) {
            split($at, pair, "=")
            field[pair[1]] = pair[2]
        }
        floor_key = field["clock"] " " field["smp"]
        if (field["op"] == "floor") floors[floor_key] = field["median_us"]
        times = (floor_key in floors) ? sprintf("%.1f", field["median_us"] / floors[floor_key]) : "-"
        if (NR == 1)
            printf "%-7s %4s  %-22s %12s %12s %12s %7s %9s\n", \
                "clock", "SMP", "op", "median", "p99", "Linux", "ratio", "x floor"
        printf "%-7s %4s  %-22s %12s %12s %12s %7s %9s\n", field["clock"], field["smp"], \
            field["op"], field["median_us"], field["p99_us"], \
            field["linux_us"] ? field["linux_us"] : "-", \
            field["ratio"] ? field["ratio"] : "-", times
    }' "$lines"
