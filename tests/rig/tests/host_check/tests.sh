#!/bin/bash
# Stands for a program of three tests, which are called as Rust's are. The one that FAKE_BROKEN
# names fails; of a program that it names, the whole process dies.
name=${0##*/}
exact= list= wanted=
for word; do
    case $word in
        --exact) exact=yes ;;
        --list) list=yes ;;
        *) wanted=$word ;;
    esac
done
chosen=
for test in good part::one part::one_more; do
    if [ -z "$exact" ] && [[ $test = *$wanted* ]] || [ "$test" = "$wanted" ]; then
        chosen+=" $test"
    fi
done
if [ -n "$list" ]; then
    [ -z "$chosen" ] || printf '%s: test\n' $chosen
    exit
fi
[ "${name%-*}" != "$FAKE_BROKEN" ] || kill -SEGV $$
passed=0 failed=
for test in $chosen; do
    if [ "${name%-*} $test" = "$FAKE_BROKEN" ]; then
        echo "test $test ... FAILED"
        failed=$test
    else
        echo "test $test ... ok"
        passed=$((passed + 1))
    fi
done
if [ -n "$failed" ]; then
    printf '\nfailures:\n\n---- %s stdout ----\nit says why\n\n\nfailures:\n    %s\n' "$failed" "$failed"
    printf '\ntest result: FAILED. %s passed; 1 failed; 0 ignored; 0 measured\n\n' "$passed"
    exit 101
fi
printf '\ntest result: ok. %s passed; 0 failed; 0 ignored; 0 measured\n\n' "$passed"
