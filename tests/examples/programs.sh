#!/bin/sh
# Runs C test programs, one after the other, and shows what those print that
# fail.     programs.sh PROGRAM...
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
log=target/program.log

for program in "$@"; do
    # RUN may be several words: it is not quoted.
    timeout 300 $RUN "$program" >$log 2>&1
    status=$?
    if [ $status -eq 0 ]; then
        pass "${program##*/} ($(grep -c '^ok' $log) checks)"
    else
        cat $log
        fail "${program##*/}: exit status $status"
    fi
done
summary
