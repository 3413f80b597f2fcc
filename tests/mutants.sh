#!/usr/bin/env bash
# Makes the mistakes of tests/mutants.list one at a time, each in a copy of the
# tree, and runs the model that must find it: tests/mutants.sh [TEXT]
#
# Fails if a mutant survives, if one doesn't compile (a mistake that can't be
# made proves nothing), or if an ordering of a listed file has no entry. With
# TEXT only the entries that have it in them are run.
set -eu
cd "$(dirname "$0")/.."
unset CARGO_ENCODED_RUSTFLAGS
only=${1:-}

list=tests/mutants.list
work=${CARGO_TARGET_DIR:-target}/mutants
case $work in /*) ;; *) work=$PWD/$work ;; esac
tree=$work/tree
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

caught=0
unchanged=0
failed=0
declare -A covered

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
    source=$(cat "$file"; printf _)
    source=${source%_}

    rest=${source#*"$before"}
    if [ "$rest" = "$source" ] || [ "${rest#*"$before"}" != "$rest" ]; then
        echo "FAIL      $file: does not stand there just once: $before"
        failed=$((failed + 1))
        continue
    fi
    first=$(printf '%s' "${source%%"$before"*}" | wc -l)
    lines=$(printf '%s' "$before" | wc -l)
    for ((at = first; at <= first + lines; at++)); do
        covered[$file:$((at + 1))]=1
    done
    case $after in
        -*)
            unchanged=$((unchanged + 1))
            continue
            ;;
    esac
    case $line in *"$only"*) ;; *) continue ;; esac

    after=$(printf '%b_' "${after//%/%%}")
    after=${after%_}
    printf '%s' "${source%%"$before"*}$after$rest" >"$tree/$file"
    summary="$file:$((first + 1)): $(printf '%s' "${after%%$'\n'*}" | cut -c 1-60)"
    log=$work/log
    if ! (cd "$tree" && cargo test --release --test "$model" --no-run) >"$log" 2>&1; then
        echo "FAIL      does not compile: $summary"
        tail -n 20 "$log"
        failed=$((failed + 1))
    elif (cd "$tree" && timeout -k 5 120 cargo test --release --test "$model") >"$log" 2>&1; then
        echo "SURVIVED  $summary"
        failed=$((failed + 1))
    else
        echo "caught    $summary"
        caught=$((caught + 1))
    fi
    cp "$file" "$tree/$file"
done 3<"$list"

for file in $(sed -n 's/^\(src[^ ]*\) .*/\1/p' "$list" | sort -u); do
    while IFS=: read -r number text; do
        case $(trim "$text") in '//'* | 'use '*) continue ;; esac
        if [ -z "${covered[$file:$number]:-}" ]; then
            echo "FAIL      $file:$number has no entry: $(trim "$text")"
            failed=$((failed + 1))
        fi
    done < <(grep -nE 'Ordering::|fence\(' "$file" | grep -vE 'use crate')
done

echo "$caught passed, $failed failed, 0 skipped ($unchanged orderings can't be weakened)"
[ "$failed" = 0 ]
