#!/usr/bin/env bash
# Checks the verdicts of tests/mutants.sh, with mistakes of which each is known to be
# caught, to survive, to hang, not to compile, or not to be one.
set -eu
cd "$(dirname "$0")/.."

list=$(mktemp)
out=$(mktemp)
trap 'rm -f "$list" "$out"' EXIT
cat >"$list" <<'END'
src/trace.rs | loom_trace | slot.sequence.store(0, Ordering::Relaxed); | // Caught.
src/trace.rs | loom_trace | /// Something that happened. | /// Survives.
src/trace.rs | loom_trace | let (on, at) = here_fn(); | let (on, at) = here_fn(); loop { std::thread::sleep(core::time::Duration::MAX); } // Hangs.
src/trace.rs | loom_trace | let (on, at) = here_fn(); | let (on, at) = ; // No Rust.
src/trace.rs | loom_trace | this text is not there | anything
src/trace.rs | loom_absent | /// Something that happened. | /// No model.
END

status=0
MUTANTS_LIST=$list MUTANTS_FLOOR=10 tests/mutants.sh >"$out" 2>&1 || status=$?

failed=0
# expect WORDS...: there is one line that has them in this order.
expect() {
    local pattern=$1
    shift
    while [ $# -gt 0 ]; do
        pattern="$pattern.*$1"
        shift
    done
    if [ "$(grep -c "^$pattern" "$out")" != 1 ]; then
        echo "FAIL      there is not one line like: $pattern"
        failed=$((failed + 1))
    fi
}
expect sound loom_trace
expect caught 'src/trace.rs:.*Caught'
expect SURVIVED 'src/trace.rs:.*Survives'
expect 'TIMED OUT' 'src/trace.rs:'
expect FAIL 'does not compile'
expect FAIL 'does not stand there just once'
expect FAIL 'loom_absent does not pass unchanged'
expect '1 passed, 5 failed, 0 skipped'
if [ "$status" = 0 ]; then
    echo "FAIL      tests/mutants.sh has passed"
    failed=$((failed + 1))
fi
[ "$failed" = 0 ] || cat "$out"
echo "$((9 - failed)) passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
