#!/bin/bash
# Stands for QEMU, with a kernel whose boot arguments are among its own. A kernel or a machine
# with the words of FAKE_BROKEN among them fails.
case $1 in
    --version) echo "QEMU emulator version 10.0.2"; exit ;;
    -M) [ "$2" != help ] || exit 0 ;;
esac
ok=ok
if [ -n "$FAKE_BROKEN" ] && [[ "$* " = *"$FAKE_BROKEN"* ]]; then
    ok='not ok'
fi
if [[ "$*" = *qemu_* ]]; then
    printf '1..1\r\n%s 1 - it works\r\n' "$ok"
elif [ "$ok" = ok ]; then
    for check in 1 2 3 4 5 6 7 8; do
        printf 'selftest: %s: ok: fine\r\n' "$check"
    done
fi
