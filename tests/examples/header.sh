#!/bin/sh
# The headers: dari.h is up to date, both are fit to stand alone in every C and
# C++ that dari promises, and dari.hpp leaves out nothing. The shared library:
# nothing visible but dari_*.
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
warn="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"

compiles() { # HEADER COMPILER LANGUAGE STANDARD WARNINGS
    echo "#include <$1>" | $2 -x "$3" "-std=$4" $5 -Iinclude -fsyntax-only -
}

# Each function of dari.h, each hook and setting, and each fact about an end,
# that dari.hpp does not name.
left_out() {
    sed -n 's/^DARI_API .*[ *]\(dari_[a-z_]*\)(.*/\1/p' include/dari.h |
        while read -r name; do grep -q "\<$name(" include/dari.hpp || echo "$name"; done
    awk '/^typedef struct/ { fields = "" }
        /^    [a-z]/ && match($0, /\(\*[a-z_]+\)|[a-z_]+;/) { fields = fields "\n" substr($0, RSTART, RLENGTH) }
        /^} dari_(handler|limits|listen|connect|loop_config|close|limited|log|past)_t;/ { print fields }' include/dari.h |
        tr -cd 'a-z_\n' | grep -Evx 'struct_size|reserved|user|' |
        while read -r name; do grep -Eq "(\.|->|_t::)$name\>" include/dari.hpp || echo "$name"; done
}

leaves_out_nothing() {
    names=$(left_out)
    [ -z "$names" ] || { echo "$names"; return 1; }
}

only_ours() {
    theirs=$(nm -D --defined-only target/release/libdari.so | awk '$3 !~ /^dari_/')
    [ -z "$theirs" ] || { echo "$theirs" | head -n 5; return 1; }
}

# Whether the table of tests/c/test_abuse.c comes to each function.
all_abused() {
    for function in $(nm -D --defined-only target/release/libdari.so | awk '{ print $3 }'); do
        grep -qF "$function(" tests/c/abuse*.h || echo "no row for $function"
    done >target/abused
    [ ! -s target/abused ] || { head -n 5 target/abused; return 1; }
}

# Functions that take a loop or a remote, and that test_owner.c does not call where they may not be called.
without_owner() {
    sed 's|//.*||' include/dari.h | awk 'BEGIN { RS = ";" }
        /DARI_API [^#]*dari_(loop_t [*]loop|remote_t [*](remote|const [*]remotes))[,)]/ {
            sub(/.*DARI_API /, ""); match($0, /dari_[a-z_]+\(/); print substr($0, RSTART, RLENGTH) }' |
        while read -r call; do grep -qF "$call" tests/c/test_owner.c || echo "${call%(}"; done
}

all_owned() {
    names=$(without_owner)
    [ -z "$names" ] || { echo "$names"; return 1; }
}

# Each hook, by its name, has a place where test_abuse.c does everything, and is one that test_log.c sees named.
all_hooked() {
    awk '/^typedef struct/ { names = "" } /^    [a-z]/ && match($0, /[(][*][a-z_]+[)]/) { names = names substr($0, RSTART + 2, RLENGTH - 3) "\n" }
        /^} dari_(handler|loop_config)_t;/ { printf "%s", names }' include/dari.h |
        while read -r hook; do
            grep -qF "    {\"$hook\", '" tests/c/test_abuse.c || echo "no place in test_abuse.c: $hook"
            grep -qF "\"$hook\"" tests/c/test_log.c || echo "not named in test_log.c: $hook"
        done >target/unhooked
    [ ! -s target/unhooked ] || { cat target/unhooked; return 1; }
}

# Each cause is reached, and looked at as a whole, by a test; and has words of its own.
all_caused() {
    grep -o '^#define DARI_CAUSE_[A-Z0-9_]*' include/dari.h | cut -d ' ' -f 2 |
        while read -r cause; do
            grep -q "\.cause = $cause[,}]" tests/c/test_causes.c tests/c/breaches.h || echo "reached by no test: $cause"
        done >target/uncaused
    [ ! -s target/uncaused ] || { cat target/uncaused; return 1; }
}

soname() {
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    readelf -d target/release/libdari.so | grep -qF "soname: [libdari.so.${version%.*}]"
}

check "include/dari.h is what \`make header\` writes" "${CARGO:-cargo}" run -q -p header-gen --locked -- --check
for standard in c99 c11 c17; do
    check "dari.h alone as $standard" compiles dari.h "${CC:-cc}" c $standard "$warn -Wstrict-prototypes"
done
for standard in c++11 c++17; do
    check "dari.h alone as $standard" compiles dari.h "${CXX:-c++}" c++ $standard "$warn"
done
for standard in c++17 c++20; do
    check "dari.hpp alone as $standard" compiles dari.hpp "${CXX:-c++}" c++ $standard "$warn"
    check "dari.hpp in use as $standard" ${CXX:-c++} -std=$standard $warn -Iinclude -fsyntax-only tests/c/test_hpp.cpp
done
check "dari.hpp leaves out nothing that dari.h has" leaves_out_nothing
check "libdari.so shows dari_* and nothing else" only_ours
check "every function is in the table of tests/c/test_abuse.c" all_abused
check "every function that takes a loop is in tests/c/test_owner.c" all_owned
check "every hook is a place of tests/c/test_abuse.c, and named when it is slow" all_hooked
check "every cause is reached by tests/c/test_causes.c" all_caused
check "libdari.so is named libdari.so.MAJOR.MINOR" soname
summary
