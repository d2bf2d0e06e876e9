#!/bin/sh
# The C tests and the examples under valgrind: no bad access, no leak, and no
# socket left open. What it says of each process is kept in target/valgrind.
cd "$(dirname "$0")/../.." || exit 1
logs=$PWD/target/valgrind
command -v valgrind >/dev/null || { echo "missing: valgrind" >&2; echo "    apt-get install valgrind" >&2; exit 1; }
rm -rf "$logs"
mkdir -p "$logs"

RUN="valgrind -q --error-exitcode=9 --suppressions=$PWD/tests/examples/valgrind.supp --track-fds=yes --leak-check=full --errors-for-leak-kinds=definite,indirect,possible --log-file=$logs/%p.log"
export RUN
# A crowd of 50 takes valgrind more time than it shows.
export ABUSE_CROWD=5
sh tests/examples/summary.sh c-test examples-test
status=$?

# A socket that was there from the start is marked in the line after its own.
left=$(awk '/Open AF_/ { what = $0; next } what != "" { if (!/inherited/) print FILENAME ": " what; what = "" }' "$logs"/*.log)
[ -z "$left" ] || { echo "sockets left open:"; echo "$left"; status=1; }
[ $status -eq 0 ] || grep -lE 'Invalid|uninitialised|lost in' "$logs"/*.log
exit $status
