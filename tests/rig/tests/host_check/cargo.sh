#!/bin/bash
# Stands for cargo. The command fails that begins with the words of FAKE_BROKEN; with FAKE_HANGS
# one goes on for ever, as does a program that it starts. If that is `deaf`, neither heeds a
# request to end.
if [ "$1" = rig ]; then
    shift
    exec target/debug/stillpoint-rig "$@"
fi
if [ -n "$FAKE_HANGS" ]; then
    [ "$FAKE_HANGS" != deaf ] || trap '' INT TERM
    sleep 60 &
    echo "$$ $!" >hanging.part
    mv hanging.part hanging
    echo "   Compiling a crate that takes as long as the words of this line are many"
    wait
    wait
fi
if [ -n "$FAKE_BROKEN" ] && [[ "cargo $* " = "$FAKE_BROKEN "* ]]; then
    echo "error: the fake cargo was told to fail: cargo $*"
    exit 101
fi
program() {
    echo "{\"profile\":{\"test\":$2},\"executable\":\"$PWD/$1\"}"
}
if [ "$1" = test ]; then
    [[ " $* " = *" --test "* ]] || program stillpoint_rig-0123456789abcdef true
fi
while [ $# != 0 ]; do
    case $1 in
        --test) program "$2-0123456789abcdef" true ;;
        --bin) program "$2" false ;;
    esac
    shift
done
