# Sourced: asking QEMU's gdbstub for a system register, in gdb's remote serial
# protocol. Needs bash.

# gdb_connect PORT connects; the machine stands still from here on.
gdb_connect() {
    exec {gdb}<>"/dev/tcp/127.0.0.1/$1"
    gdb_ask 'qSupported:xmlRegisters=aarch64' >/dev/null
}

# gdb_disconnect lets the machine go on.
gdb_disconnect() {
    gdb_ask D >/dev/null
    exec {gdb}>&-
}

# Prints the answer to the packet $1.
gdb_ask() {
    gdb_send "$1"
    gdb_answer
}

# Sends the packet $1.
gdb_send() {
    local packet=$1 sum=0 at
    for ((at = 0; at < ${#packet}; at++)); do
        printf -v byte '%d' "'${packet:at:1}"
        sum=$(((sum + byte) % 256))
    done
    printf '$%s#%02x' "$packet" "$sum" >&"$gdb"
}

# Prints the next packet that comes within $1 seconds, 10 without.
gdb_answer() {
    local answer=''
    # What comes before the dollar sign says that the packet has arrived.
    IFS= read -r -d '#' -t "${1:-10}" -u "$gdb" answer || return 1
    IFS= read -r -N 2 -t 10 -u "$gdb" || return 1
    printf + >&"$gdb"
    printf '%s' "${answer#*\$}"
}

# gdb_register NAME CPU prints a system register of a CPU, counted from 0, as a
# number.
gdb_register() {
    local xml='' part='' offset=0 number value
    until [ "${part:0:1}" = l ]; do
        part=$(gdb_ask "qXfer:features:read:system-registers.xml:$(printf %x $offset),800")
        case ${part:0:1} in
            l | m) ;;
            *) return 1 ;;
        esac
        xml+=${part:1}
        offset=$((offset + ${#part} - 1))
    done
    number=$(tr '<' '\n' <<<"$xml" |
        sed -n "s/^reg name=\"$1\".* regnum=\"\([0-9]*\)\".*/\1/p")
    [ -n "$number" ] || return 1
    gdb_ask "Hg$(printf %x $(($2 + 1)))" >/dev/null
    value=$(gdb_ask "p$(printf %x "$number")")
    # Bytes come in the order of memory, the lowest first.
    echo $((16#$(fold -w 2 <<<"$value" | tac | tr -d '\n')))
}
