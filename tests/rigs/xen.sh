#!/usr/bin/env bash
# Boots the Image as a guest of Xen: tests/rigs/xen.sh IMAGE
#
# Debian's Xen runs without a Dom0: the Image is its only domain, started by Xen itself
# from the device tree. QEMU emulates the board, with EL2. The guest's console is Xen's
# emulated PL011; Xen prints a line of it, with a mark in front, when its newline comes.
# Xen goes on when its guest has turned itself off: Xen's key `q` then lists the guest's
# virtual CPUs as paused, and QEMU is ended.
#
# Exits with 77 where something can't be had; the last line says what.
set -eu
cd "$(dirname "$0")/../.."
. tests/counts.sh
. tests/outcome.sh
. tests/rigs/debian.sh

image=$1
logs=${CARGO_TARGET_DIR:-target}/qemu
mkdir -p "$logs"

# Where the board's memory holds the Image until Xen copies it for its guest.
image_at=0x60000000

package=$(newest 'xen-hypervisor-[0-9.]*-arm64')
[ -n "$package" ] || cannot "Debian has no Xen for arm64"
xen=$(unpack "$package")
xen=$(echo "$xen"/boot/xen-*-arm64)
needs_command dtc device-tree-compiler

# The board's own tree, with a domain added: $1 what to write to, $2 CPUs of the guest.
write_tree() {
    local size
    size=$(stat -c %s "$image")
    "${board[@]}" -machine "dumpdtb=$1.board" -serial null >/dev/null 2>&1
    {
        dtc -q -I dtb -O dts "$1.board"
        cat <<TREE
/ { chosen {
    #address-cells = <2>;
    #size-cells = <2>;
    xen,xen-bootargs = "console=dtuart dtuart=/pl011@9000000 conswitch=ax guest_loglvl=all noreboot";
    guest {
        compatible = "xen,domain";
        #address-cells = <2>;
        #size-cells = <2>;
        memory = <0 $((256 * 1024))>;
        cpus = <$2>;
        vpl011;
        module@60000000 {
            compatible = "multiboot,kernel", "multiboot,module";
            reg = <0 $image_at 0 $size>;
            bootargs = "init=\"$rig_commands\"";
        };
    };
}; };
TREE
    } | dtc -q -I dts -O dtb -o "$1"
}

# Prints what the guest prints, and asks Xen for its state once it has said its last
# word. Returns when the guest has turned itself off.
watch() {
    local line last= paused=0 of=0 deadline=$((SECONDS + $1))
    local mark='(XEN) DOM1: ' state='pause_count='
    while [ "$SECONDS" -lt "$deadline" ]; do
        if ! IFS= read -r -t 2 -u "$from" line; then
            kill -0 "$vm" 2>/dev/null || return 1
            [ -z "$last" ] || printf q >&"$to"
            continue
        fi
        line=${line%%$'\r'*}
        case $line in
            "$mark"*)
                line=${line#"$mark"}
                printf '%s\n' "$line"
                [ "$line" != 'rig: done' ] || last=1
                ;;
            *'General information for domain 1:'*) paused=0 of=0 ;;
            # One virtual CPU; the domain as a whole has the first word too.
            *"$state"*' pause_flags='*)
                of=$((of + 1))
                [ "${line/"$state"0 /}" != "$line" ] || paused=$((paused + 1))
                ;;
            # The last lines of the listing.
            *'Notifying guest 1:'*)
                [ "$of" = 0 ] || [ "$paused" != "$of" ] || return 0
                ;;
        esac
        printf '%s\n' "$line" >>"$raw"
    done
    return 1
}

# boot GIC CPUS
boot() {
    local log=$logs/xen-gicv$1-$2.log tree=$rigs/xen-gicv$1-$2.dtb why= off=
    raw=$log.raw
    : >"$raw"
    board=(qemu-system-aarch64 -M "virt,virtualization=on,gic-version=$1" -cpu cortex-a72 -smp 4
        -m 2G -nodefaults -display none -monitor none -no-reboot)
    write_tree "$tree" "$2"
    coproc XEN { exec timeout --foreground -k 5 "$((${TIMEOUT:-180} + 10))" "${board[@]}" \
        -serial stdio -kernel "$xen" -dtb "$tree" \
        -device "loader,file=$image,addr=$image_at,force-raw=on" 2>&1; }
    vm=$XEN_PID
    exec {from}<&"${XEN[0]}" {to}>&"${XEN[1]}"
    local begun=${EPOCHREALTIME/[.,]/}
    watch "${TIMEOUT:-180}" >"$log" && off=1
    kill "$vm" 2>/dev/null || true
    wait "$vm" 2>/dev/null || true
    exec {from}<&- {to}>&-
    judge_rig "$log"
    if [ -z "$why" ] && [ -z "$off" ]; then
        why='the guest has not turned itself off'
    fi
    tell "$package, GICv$1, $2 virtual CPUs  $(seconds $((${EPOCHREALTIME/[.,]/} - begun)))" "$log"
}

boot 3 4
boot 2 4
boot 3 8
boot 2 8
print_counts
[ "$failed" = 0 ]
