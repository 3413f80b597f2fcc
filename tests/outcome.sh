# Sourced, with tests/counts.sh: what became of a machine that was booted. Needs bash.

# run_to_end LOG SECONDS runs VM, its console in LOG, until it ends or the time is up;
# what is typed comes from standard input. Sets `why` to what is wrong, which is
# nothing if it ended with status 0, and `took`.
run_to_end() {
    local log=$1 limit=$2 status=0 from=${EPOCHREALTIME/[.,]/}
    timeout --foreground -k 5 "$limit" "${VM[@]}" -serial stdio -monitor none \
        >"$log" 2>&1 || status=$?
    sed -i 's/\r$//' "$log"
    took=$(seconds $((${EPOCHREALTIME/[.,]/} - from)))
    judge_status "$status" "$limit"
}

# judge_status STATUS SECONDS sets `why`.
judge_status() {
    case $1 in
        0) why= ;;
        124 | 137) why="timed out after $2 s" ;;
        *) why="ended with status $1" ;;
    esac
}

# judge_selftest LOG adds to `why` unless all checks of `selftest` are in LOG, each of
# them ok.
judge_selftest() {
    if [ -z "$why" ] && [ "$(grep -c '^selftest: .*: ok: ' "$1")" != 8 ]; then
        why='not all eight checks are ok'
    elif [ -z "$why" ] && grep -q '^selftest: .*: FAILED' "$1"; then
        why='a check has failed'
    fi
}

# tell TEXT LOG counts the outcome and prints it; LOG too, if `why` says something.
tell() {
    if [ -z "$why" ]; then
        passed=$((passed + 1))
        echo "ok              $1"
    else
        failed=$((failed + 1))
        echo "FAIL            $1  $why"
        sed 's/^/    /' "$2"
    fi
}
