# Sourced: counting results, and printing times. Needs bash.

passed=0 failed=0 skipped=0 inapplicable=0

# Adds what the logs $@ counted: libtest's result lines, and the last lines of
# our own scripts.
add_counts() {
    local counts
    counts=$(awk '
        /^test result: / { p += $4; f += $6; s += $8 }
        /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped, [0-9]+ not applicable$/ {
            p += $1; f += $3; s += $5; n += $7
        }
        END { print p + 0, f + 0, s + 0, n + 0 }' "$@")
    local p f s n
    read -r p f s n <<<"$counts"
    passed=$((passed + p)) failed=$((failed + f))
    skipped=$((skipped + s)) inapplicable=$((inapplicable + n))
}

print_counts() {
    echo "$passed passed, $failed failed, $skipped skipped, $inapplicable not applicable"
}

# Microseconds as "12.3s".
seconds() {
    local tenths=$((($1 + 50000) / 100000))
    echo "$((tenths / 10)).$((tenths % 10))s"
}
