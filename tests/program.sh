#!/usr/bin/env bash
# Runs the tests of one program and prints all of it at once, because two of these run
# at a time: tests/program.sh PROGRAM
#
#   TEST  only tests with this in their name
set -eu
status=0
output=$("$1" ${TEST:+"$TEST"} 2>&1) || status=$?
printf '%s:\n%s\n' "$(basename "$1")" "$output"
exit "$status"
