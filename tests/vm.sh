# Sourced by the scripts that boot something: the one place that knows QEMU's
# command line. Needs bash.
#
# vm_command IMAGE sets the array VM to the command that boots IMAGE on the
# machine that these variables describe:
#
#   BOARD   `virt`, or `rpi4`: QEMU's raspi4b,    virt
#           of which nothing below down to DTB
#           can be chosen but SMP and ICOUNT
#   SMP     number of CPUs; rpi4: that start      4
#   MEM     memory                                1G
#   CPU     CPU model                             max
#   GIC     interrupt controller: 2, 3 or 4       3
#   VIRT    `on`: entered at EL2, PSCI by SMC     off
#   SECURE  `on`: with EL3 and a secure world     off
#   TCG     `single`: one host thread for all     multi: one for each
#           CPUs
#   ICOUNT  `1`: time is the instruction count, one host thread; repeatable
#   DTB     device tree, .dts or .dtb             QEMU's own
#   INIT    shell commands, as init="..."
#   APPEND  further boot arguments
#   QEMU    further arguments of QEMU, split at white space
#
# The caller adds where the serial port goes. The kernel's exit status, given
# to semihosting, is QEMU's exit status.

vm_command() {
    local arguments=exit=semihosting name
    # What isn't understood is no other machine than the one that was meant.
    for name in VIRT SECURE; do
        case ${!name:-} in
            '' | on | off) ;;
            *)
                echo "$name may be on or off" >&2
                return 1
                ;;
        esac
    done
    case ${TCG:-} in
        '' | single | multi) ;;
        *)
            echo "TCG may be single or multi" >&2
            return 1
            ;;
    esac
    case ${BOARD:-virt} in
        virt)
            local machine=virt,gic-version=${GIC:-3}
            if [ "${VIRT:-}" = on ]; then
                machine+=,virtualization=on
            fi
            if [ "${SECURE:-}" = on ]; then
                machine+=,secure=on
            fi
            # No network card: its boot ROM is in a package that nothing else needs.
            VM=(qemu-system-aarch64 -M "$machine" -cpu "${CPU:-max}"
                -smp "${SMP:-4}" -m "${MEM:-1G}" -nic none)
            ;;
        rpi4)
            VM=(qemu-system-aarch64 -M raspi4b)
            if [ "${SMP:-4}" -gt 4 ]; then
                echo "a Raspberry Pi 4 has 4 CPUs" >&2
                return 1
            elif [ "${SMP:-4}" -lt 4 ]; then
                arguments+=" maxcpus=$SMP"
            fi
            local DTB=${DTB:-dts/bcm2711-rpi-4-b.dts}
            ;;
        *)
            echo "BOARD may be virt or rpi4" >&2
            return 1
            ;;
    esac

    if [ -n "${INIT:-}" ]; then
        # A command line has no escape for a double quote; the shell that reads
        # the value takes single ones as well.
        local commands=$INIT
        case $commands in
            *\"*[\'\\]* | *[\'\\]*\"*)
                echo "INIT may not mix double quotes with single ones or backslashes" >&2
                return 1
                ;;
        esac
        arguments+=" init=\"${commands//\"/\'}\""
    fi
    arguments+=${APPEND:+ $APPEND}

    VM+=(-display none
        -semihosting-config enable=on,target=native
        -kernel "$1" -append "$arguments")

    if [ "${ICOUNT:-}" = 1 ]; then
        VM+=(-icount shift=0,sleep=off -accel tcg,thread=single)
    elif [ "${TCG:-}" = single ]; then
        VM+=(-accel tcg,thread=single)
    else
        VM+=(-accel tcg)
    fi

    case ${DTB:-} in
        '') ;;
        *.dts) VM+=(-dtb "$(tests/dtb.sh "$DTB")") ;;
        *) VM+=(-dtb "$DTB") ;;
    esac

    local extra
    read -r -a extra <<<"${QEMU:-}"
    VM+=(${extra[@]+"${extra[@]}"})
}
