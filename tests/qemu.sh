#!/usr/bin/env bash
# Builds every test kernel and runs each at its sizes: what `make test-qemu`
# does. A line for each run, and what was counted at the end.
#
#   SMP   sizes to run at                       "1 2 4 20"
#   TEST  only kernels with one of these words in their name
#   CASE  only this case of those that have cases
#   PROFILE  dev: all in a debug build, whatever they ask for
set -eu
cd "$(dirname "$0")/.."
. tests/counts.sh
. tests/directives.sh
. tests/build.sh

sizes=${SMP:-1 2 4 20}
export SMP
# Above this many CPUs a run has the host to itself.
small=4

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Builds the kernels, each in the profile that it asks for; prints the path of each.
kernels() {
    local source profile release=() dev=()
    for source in tests/qemu_*.rs; do
        profile=${PROFILE:-$(directive "$source" PROFILE)}
        source=$(basename "$source" .rs)
        [ -n "$(named <<<"/$source")" ] || continue
        case ${profile:-release} in
            release) release+=(--test "$source") ;;
            dev) dev+=(--test "$source") ;;
            *)
                echo "$source: no profile is named $profile" >&2
                return 1
                ;;
        esac
    done
    # Called in a condition, where `set -e` is off.
    [ ${#release[@]} = 0 ] || build --release "${release[@]}" || return
    as_debug_build
    [ ${#dev[@]} = 0 ] || build "${variant[@]}" "${dev[@]}" || return
    [ $((${#release[@]} + ${#dev[@]})) -gt 0 ]
}

# Cargo builds the program along with its tests, and names that too.
build() {
    built_tests --target aarch64-unknown-none "$@" | grep '/qemu_[^/]*$'
}

# Of the paths on standard input, those whose file is wanted.
named() {
    local word words=()
    for word in ${TEST:-''}; do
        words+=(-e "/[^/]*$word[^/]*\$")
    done
    # That none is wanted is no failure here; `set -e` would take it for one.
    grep "${words[@]}" || true
}

# Why the kernel named $1 does not run on $2 CPUs of this machine; nothing if it
# does.
unfit() {
    local only gic=${GIC:-3} board=${BOARD:-virt}
    only=$(directive "tests/$1.rs" BOARD)
    if [ "${only:-$board}" != "$board" ]; then
        echo "it is for ${only}"
        return
    fi
    if [ "${BOARD:-virt}" = rpi4 ]; then
        if [ "$2" != 4 ]; then
            echo "a Raspberry Pi 4 has 4 CPUs"
            return
        fi
        for only in MEM CPU VIRT SECURE DTB QEMU; do
            if [ -n "$(directive "tests/$1.rs" "$only" '.*')" ]; then
                echo "it chooses $only, which a Raspberry Pi 4 has as it is"
                return
            fi
        done
        gic=2
    fi
    only=$(directive "tests/$1.rs" SMP)
    case " ${only:-$2} " in
        *" $2 "*) ;;
        *)
            echo "it runs at $only"
            return
            ;;
    esac
    only=$(directive "tests/$1.rs" GIC)
    if [ "${only:-$gic}" != "$gic" ]; then
        echo "it is for GICv$only"
    elif [ "$gic" = 2 ] && [ "$2" -gt 8 ]; then
        echo "a GICv2 has 8 CPU interfaces"
    fi
}

# What is to be run of a test: its cases, or `-` if it has none.
runs() {
    local all
    all=$(cases "tests/$1.rs")
    if [ -z "$all" ]; then
        echo -
    elif [ -z "${CASE:-}" ]; then
        echo "$all"
    else
        grep -Fx -e "$CASE" <<<"$all" || true
    fi
}

# Runs case $4 (`-`: it has none) of kernel $2, named $1, at size $3; prints its
# line, then all of it if it failed. In one write each, because two of these run
# at a time.
run() {
    local name=$1 elf=$2 case=${4#-} log=$results/$1.$3.$4 from=${EPOCHREALTIME/[.,]/} status=0
    name+=${case:+ $case}
    CASE=$case SMP=$3 tests/runner.sh "$elf" >"$log" 2>&1 || status=$?
    local time verdict notes
    time=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    verdict=$(tail -n 1 "$log")
    case $status:$verdict in
        '0:runner: ok 0 passed, 0 failed, 1 skipped'*)
            printf 'skipped         %-24s SMP=%-3s %6s  %s\n' "$name" "$3" "$time" \
                "$(sed -n 's/^ok .*# SKIP //p' "$log")"
            ;;
        '0:runner: ok 0 passed'*)
            printf 'not applicable  %-24s SMP=%-3s %6s  %s\n' "$name" "$3" "$time" \
                "$(grep -m 1 -o 'not applicable.*' "$log")"
            ;;
        '0:runner: ok '*)
            # With the results in it that don't apply here, each with its reason.
            notes=$(sed -n 's/^ok .*# *SKIP/    &/p' "$log")
            printf 'ok              %-24s SMP=%-3s %6s\n%s' "$name" "$3" "$time" \
                "${notes:+$notes$'\n'}"
            ;;
        *)
            printf 'FAIL            %-24s SMP=%-3s %6s\n%s\n' "$name" "$3" "$time" \
                "$(sed 's/^/    /' "$log")"
            ;;
    esac
    if [ "$status" = 0 ]; then
        echo "${verdict#runner: ok }" >"$log.count"
    else
        # Its results before the failure count for nothing.
        echo "0 passed, 1 failed, 0 skipped, 0 not applicable" >"$log.count"
    fi
}

if ! ls tests/qemu_*.rs >/dev/null 2>&1; then
    echo "there are no test kernels (tests/qemu_*.rs)"
    echo "0 passed, 0 failed, 1 skipped, 0 not applicable"
    exit 0
fi

# The paths on standard input, those that may take long first: the last to end doesn't
# begin last.
longest_first() {
    local elf name limit
    while IFS= read -r elf; do
        name=$(basename "$elf")
        limit=$(directive "tests/${name%-????????????????}.rs" TIMEOUT)
        echo "${limit:-0} $elf"
    done | sort -k 1nr -k 2 | cut -d ' ' -f 2-
}

if ! kernels >"$results/built"; then
    echo "the build failed${TEST:+, or no test kernel has \"$TEST\" in its name}"
    exit 1
fi
longest_first <"$results/built" >"$results/kernels"

for size in $sizes; do
    while IFS= read -r elf; do
        name=$(basename "$elf")
        name=${name%-????????????????}
        why=$(unfit "$name" "$size")
        if [ -n "$why" ]; then
            printf 'not applicable  %-24s SMP=%-3s %6s  %s\n' "$name" "$size" - "$why"
            echo "0 passed, 0 failed, 0 skipped, 1 not applicable" >"$results/$name.$size.count"
            continue
        fi
        for case in $(runs "$name"); do
            if [ "$size" -gt "$small" ]; then
                wait
                run "$name" "$elf" "$size" "$case"
            else
                while [ "$(jobs -pr | wc -l)" -ge 2 ]; do
                    wait -n
                done
                run "$name" "$elf" "$size" "$case" &
            fi
        done
    done <"$results/kernels"
done
wait

add_counts "$results"/*.count
print_counts
[ "$failed" = 0 ]
