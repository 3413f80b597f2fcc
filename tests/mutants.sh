#!/usr/bin/env bash
# Makes the mistakes of tests/mutants.list one at a time, each in a copy of the
# tree, and runs the model that must find it: tests/mutants.sh [TEXT]
#
# Each model is run unchanged first, and must pass; how long that takes decides how
# long it may take with a mistake in it. The verdicts:
#
#   caught     the model has failed
#   SURVIVED   it has passed all the same
#   TIMED OUT  it has neither failed nor passed: nothing is shown
#   FAIL       the mistake can't be made, doesn't compile, or the model is red without it
#
# All but the first fail the run. With TEXT only the entries that have it in them are
# run. tests/host_orderings.rs checks that the list is complete.
#
#   MUTANTS_LIST   another list
#   MUTANTS_FLOOR  seconds that a model may take at least, however fast it is unchanged
set -eu
cd "$(dirname "$0")/.."
unset CARGO_ENCODED_RUSTFLAGS
only=${1:-}

list=${MUTANTS_LIST:-tests/mutants.list}
floor=${MUTANTS_FLOOR:-60}
work=${CARGO_TARGET_DIR:-target}/mutants
case $work in /*) ;; *) work=$PWD/$work ;; esac
tree=$work/tree
log=$work/log
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z -- Cargo.toml Cargo.lock rust-toolchain.toml clippy.toml src tests benches |
    xargs -0 cp --parents -t "$tree"

export RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$work/target
# Two mistakes show no earlier, whatever depth was asked for.
export LOOM_MAX_PREEMPTIONS=3

trim() {
    local text=$1
    text=${text#"${text%%[! ]*}"}
    printf '%s' "${text%"${text##*[! ]}"}"
}

# builds MODEL: whether it compiles, as the copy of the tree stands.
builds() {
    (cd "$tree" && cargo test --release --test "$1" --no-run) >"$log" 2>&1
}

# runs MODEL SECONDS: its status; 124 or 137 if it was ended.
runs() {
    (cd "$tree" && timeout -k 5 "$2" cargo test --release --test "$1") >"$log" 2>&1
}

# Of each model: how long it may take; `red` if it doesn't pass unchanged.
declare -A limit

# find_limit MODEL: runs it unchanged, and sets `limit`.
find_limit() {
    local began=$SECONDS
    limit[$1]=red
    if builds "$1" && began=$SECONDS && runs "$1" 1200; then
        limit[$1]=$((floor + 10 * (SECONDS - began)))
        echo "sound     $1: $((SECONDS - began)) s"
    else
        tail -n 20 "$log"
    fi
}

caught=0
unchanged=0
failed=0

# fails VERDICT TEXT
fails() {
    printf '%-9s %s\n' "$1" "$2"
    failed=$((failed + 1))
}

while IFS='|' read -r file model before after <&3; do
    file=$(trim "$file")
    case $file in '' | '#'*) continue ;; esac
    # A Rust closure has bars of its own: they are not fields.
    line=$file'|'$model'|'$before'|'$after
    model=$(trim "$model")
    fields=${line#*|*|}
    before=$(trim "${fields%% | *}")
    after=$(trim "${fields#* | }")
    before=$(printf '%b_' "${before//%/%%}")
    before=${before%_}
    case $after in
        -*)
            unchanged=$((unchanged + 1))
            continue
            ;;
    esac
    case $line in *"$only"*) ;; *) continue ;; esac

    source=$(cat "$file"; printf _)
    source=${source%_}
    rest=${source#*"$before"}
    if [ "$rest" = "$source" ] || [ "${rest#*"$before"}" != "$rest" ]; then
        fails FAIL "$file: does not stand there just once: $before"
        continue
    fi
    [ -n "${limit[$model]:-}" ] || find_limit "$model"
    first=$(printf '%s' "${source%%"$before"*}" | wc -l)
    after=$(printf '%b_' "${after//%/%%}")
    after=${after%_}
    summary="$file:$((first + 1)): $(printf '%s' "${after%%$'\n'*}" | cut -c 1-60)"
    if [ "${limit[$model]}" = red ]; then
        fails FAIL "$model does not pass unchanged: $summary"
        continue
    fi

    printf '%s' "${source%%"$before"*}$after$rest" >"$tree/$file"
    status=0
    if builds "$model"; then
        runs "$model" "${limit[$model]}" || status=$?
        case $status in
            0) fails SURVIVED "$summary" ;;
            124 | 137) fails 'TIMED OUT' "$summary (after ${limit[$model]} s)" ;;
            *)
                echo "caught    $summary"
                caught=$((caught + 1))
                ;;
        esac
    else
        fails FAIL "does not compile: $summary"
        tail -n 20 "$log"
    fi
    cp "$file" "$tree/$file"
done 3<"$list"

echo "$caught passed, $failed failed, 0 skipped ($unchanged orderings can't be weakened)"
[ "$failed" = 0 ]
