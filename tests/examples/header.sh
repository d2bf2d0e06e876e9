#!/bin/sh
# The header: up to date, and fit to stand alone in every C and C++ that dari
# promises. The shared library: nothing visible but dari_*.
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
warn="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"

compiles() { # COMPILER LANGUAGE STANDARD WARNINGS
    echo '#include <dari.h>' | $1 -x "$2" "-std=$3" $4 -Iinclude -fsyntax-only -
}

only_ours() {
    theirs=$(nm -D --defined-only target/release/libdari.so | awk '$3 !~ /^dari_/')
    [ -z "$theirs" ] || { echo "$theirs" | head -n 5; return 1; }
}

# Whether tests/c/test_abuse.c has a row for each function, or says why not.
all_abused() {
    for function in $(nm -D --defined-only target/release/libdari.so | awk '{ print $3 }'); do
        grep -qF "\"$function\"" tests/c/abuse*.h || echo "no row for $function"
    done >target/abused
    [ ! -s target/abused ] || { head -n 5 target/abused; return 1; }
}

soname() {
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    readelf -d target/release/libdari.so | grep -qF "soname: [libdari.so.${version%.*}]"
}

check "include/dari.h is what \`make header\` writes" "${CARGO:-cargo}" run -q -p header-gen --locked -- --check
for standard in c99 c11 c17; do
    check "the header alone as $standard" compiles "${CC:-cc}" c $standard "$warn -Wstrict-prototypes"
done
for standard in c++11 c++17; do
    check "the header alone as $standard" compiles "${CXX:-c++}" c++ $standard "$warn"
done
check "libdari.so shows dari_* and nothing else" only_ours
check "every function is in the table of tests/c/test_abuse.c" all_abused
check "libdari.so is named libdari.so.MAJOR.MINOR" soname
summary
