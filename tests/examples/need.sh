#!/bin/sh
# Says what is missing to build dari, and how to get it.     need.sh RUST_VERSION
# Installs nothing.
wanted=$1
missing=0

lacks() {
    echo "missing: $1" >&2
    echo "    $2" >&2
    missing=1
}

rust="Rust from $wanted on: curl --proto '=https' -sSf https://sh.rustup.rs | sh (see https://rustup.rs)"
command -v "${CARGO:-cargo}" >/dev/null || lacks "${CARGO:-cargo}" "$rust"
if found=$(rustc --version 2>/dev/null); then
    found=${found#rustc }
    found=${found%%[ -]*}
    least=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
    [ "$least" = "$wanted" ] || lacks "rustc $wanted (here is $found)" "$rust; or: rustup update stable"
else
    lacks rustc "$rust"
fi
# CC may carry options: the first word is the program.
for tool in "${CC:-cc}" "${CXX:-c++}"; do
    command -v "${tool%% *}" >/dev/null || lacks "${tool%% *}" "apt-get install build-essential"
done
exit $missing
