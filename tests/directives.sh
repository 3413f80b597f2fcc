# Sourced: reading what a test kernel says of itself in its opening comment;
# docs/testing.md lists the words.

# directive SOURCE WORD [CASE] prints the values of a word, one a line: those
# above the first `CASE:`, and those below one whose pattern fits the case. One
# that has no case gets the first kind alone.
directive() {
    awk -v word="$2: " -v name="${3:-}" '
        !/^\/\/!/ { exit }
        { sub(/^\/\/! /, "") }
        index($0, "CASE: ") == 1 {
            pattern = substr($0, 7)
            gsub(/^ +| +$/, "", pattern)
            other = name !~ "^(" pattern ")$"
            next
        }
        !other && index($0, word) == 1 {
            value = substr($0, length(word) + 1)
            sub(/^ +/, "", value)
            print value
        }' "$1"
}

# cases SOURCE prints the names of its cases, one a line; nothing if it is run
# but once.
cases() {
    directive "$1" CASES | tr -s ' ' '\n'
}
