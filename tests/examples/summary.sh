#!/bin/sh
# Makes each target, goes on where one fails, and adds up what all of them
# counted.     summary.sh TARGET...
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
log=target/test.log
mkdir -p target
broken=

for target in "$@"; do
    echo "== $target"
    { ${MAKE:-make} --no-print-directory ${OUT:+"OUT=$OUT"} ${CFLAGS:+"CFLAGS=$CFLAGS"} ${CXXFLAGS:+"CXXFLAGS=$CXXFLAGS"} "$target"
      echo "status $?"; } 2>&1 | tee $log | grep -v '^status [0-9]*$'
    # Cargo says "12 passed; 0 failed", our own scripts "12 passed, 0 failed".
    counts=$(sed -n 's/.*\b\([0-9]\{1,\}\) passed[;,] \([0-9]\{1,\}\) failed.*/\1 \2/p' $log |
        awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if ! grep -qx 'status 0' $log; then
        broken="$broken $target"
        # What does not even build has counted nothing.
        [ "${counts#* }" -gt 0 ] || failed=$((failed + 1))
    fi
done

echo
for target in $broken; do echo "FAILED  $target"; done
summary
