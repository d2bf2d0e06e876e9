#!/bin/sh
# Runs C test programs, one after the other, adds up what they counted, and
# shows what those print that fail.     programs.sh PROGRAM...
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
log=target/program.log

for program in "$@"; do
    # RUN may be several words: it is not quoted.
    timeout 300 $RUN "$program" >$log 2>&1
    status=$?
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' $log)
    ok=${counts% *}
    bad=${counts#* }
    # The library is silent: all that there is to read are the program's words on its tests. Tools say more.
    if [ -z "$RUN" ] && [ $status -eq 0 ] && grep -Eqv '^(ok|FAILED) |^[0-9]+ (cells|passed, [0-9]+ failed)$' $log; then
        status="0, but somebody said more"
    fi
    # A crash, a report of valgrind: failed, whatever the program counted.
    [ "$status" = 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${bad:-0}))
    if [ "$status" = 0 ]; then
        echo "ok      ${program##*/}: ${ok:-0} tests"
    else
        grep -v '^ok' $log | sed 's/^\([0-9]*\) passed, .*/        \1 of them passed/'
        echo "FAILED  ${program##*/}: exit status $status"
    fi
done
summary
