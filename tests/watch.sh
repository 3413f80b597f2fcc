# Sourced, with tests/halt.sh and tests/where.sh: running a kernel that may hang. Needs
# bash, and VM from tests/vm.sh.

# run_watched ELF IMAGE LOG SECONDS [LINE] runs VM until it ends or SECONDS are over.
# The console goes to standard output and to LOG. Sets `status`: QEMU's, or 124 if the
# kernel did not end; then it is printed where its CPUs are, and QEMU is ended.
#
# With LINE the time is over as soon as a line of the console matches this extended
# regular expression: for a kernel that hangs by intent.
run_watched() {
    local log=$3 until=$((SECONDS + $4)) line=${5:-} step=$4 hangs='' where=''
    local pipes console copier alive ended monitor_in monitor_out
    [ -z "$line" ] || step=0.2
    pipes=$(mktemp -d)
    mkfifo "$pipes/alive" "$pipes/monitor.in" "$pipes/monitor.out"
    : >"$log"
    exec {console}> >(exec tee "$log")
    copier=$!
    # The limit of `timeout` is for a runner that was killed itself.
    timeout --foreground -k 5 $(($4 + 120)) "${VM[@]}" -serial stdio \
        -chardev "pipe,id=monitor,path=$pipes/monitor" -mon monitor \
        </dev/null >&"$console" 2>&1 3>"$pipes/alive" &
    vm=$!
    exec {console}>&-
    # Ends when QEMU has, and with it the last that has it open.
    exec {alive}<"$pipes/alive"
    while :; do
        ended=0
        IFS= read -r -t "$step" -u "$alive" _ || ended=$?
        # More than 128 is a time-out.
        [ "$ended" -gt 128 ] || break
        if [ "$SECONDS" -ge "$until" ] || { [ -n "$line" ] && has_line "$line" "$log"; }; then
            hangs=yes
            break
        fi
    done
    if [ -n "$hangs" ]; then
        # Both ways at once, so that neither waits for QEMU.
        exec {monitor_in}<>"$pipes/monitor.in" {monitor_out}<>"$pipes/monitor.out"
        where=$(print_where "$1" "$2")
        echo quit >&"$monitor_in"
        exec {monitor_in}>&- {monitor_out}>&-
        IFS= read -r -t 5 -u "$alive" _ || true
        kill "$vm" 2>/dev/null || true
    fi
    status=0
    wait "$vm" || status=$?
    vm=
    exec {alive}<&-
    wait "$copier" || true
    rm -r "$pipes"
    sed -i 's/\r$//' "$log"
    if [ -n "$hangs" ]; then
        status=124
        printf '%s\n' "$where" | tee -a "$log"
    fi
}

# Whether a whole line of console that is in the file $2 so far matches $1.
has_line() {
    tr -d '\r' <"$2" | grep -q -a -E -e "$1"
}
