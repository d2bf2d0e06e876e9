#!/bin/sh
# The documents say what is so: their C is that of files, their links lead
# somewhere, the functions and tests they name exist, and the defaults are those
# of the sources and of dari.h. Needs a shell, awk, grep, sed and cc.
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

# Every document but what is built or fetched.
find . \( -name target -o -name .git -o -name node_modules -o -name .venv \) -prune -o -name '*.md' -print |
    sed 's|^\./||' | LC_ALL=C sort >"$dir/documents"
bad="$dir/bad"

# none DESCRIPTION: passes if nothing was complained of, and begins anew.
none() {
    if [ -s "$bad" ]; then
        sed 's/^/    /' "$bad"
        fail "$1"
    else
        pass "$1"
    fi
    : >"$bad"
}
: >"$bad"

# ---------------------------------------------------------------------- Code

# Writes each C block into a file of its own: first the line where it stands,
# then the name of the file that it is from, then the block.
blocks() { # DOCUMENT PREFIX
    awk -v doc="$1" -v prefix="$2" '
        /^```(c|cpp|C)$/ && !inside { inside = 1; at = FNR; text = ""; first = 1; name = marked; marked = ""; next }
        /^```/ && inside {
            out = prefix "." ++count
            printf "%s:%d\n%s\n%s", doc, at, name, text >out
            close(out); inside = 0; next
        }
        inside {
            if (first && name == "" && match($0, /^(\/\*|\/\/) [A-Za-z0-9_\/.-]+\.(c|h|cpp)( \*\/)?$/)) {
                name = $2; first = 0; next
            }
            first = 0; text = text $0 "\n"; next
        }
        /^<!-- file: .* -->$/ { marked = $3; next }
        NF { marked = "" }' "$1"
}

number=0
while read -r document; do
    number=$((number + 1))
    blocks "$document" "$dir/block.$number"
done <"$dir/documents"

count=0
for block in "$dir"/block.*; do
    [ -f "$block" ] || continue
    count=$((count + 1))
    where=$(sed -n 1p "$block")
    name=$(sed -n 2p "$block")
    if [ -z "$name" ]; then
        echo "$where: this C is from no file" >>"$bad"
    elif [ ! -f "$name" ]; then
        echo "$where: there is no $name" >>"$bad"
    else
        # Contiguous, whole lines: the block is found behind a line end or at the front.
        sed 1,2d "$block" | awk -v name="$name" '
            { wanted = wanted $0 "\n" }
            END {
                text = "\n"
                while ((getline line <name) > 0) text = text line "\n"
                exit !(wanted != "" && index(text, "\n" wanted))
            }' || echo "$where: not what stands in $name" >>"$bad"
    fi
done
[ "$count" -gt 0 ] || echo "no document has any C" >>"$bad"
none "$count blocks of C in documents are parts of files"

# CC may carry options: it is not quoted.
check "tests/docs/snippets.c compiles" ${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    -Iinclude -fsyntax-only tests/docs/snippets.c
check "tests/docs/snippets.cpp compiles" ${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
    -Iinclude -fsyntax-only tests/docs/snippets.cpp

# --------------------------------------------------------------------- Links

count=0
while read -r document; do
    # Code, in blocks and in lines, holds no links.
    awk '/^ *```/ { code = !code; next } !code { gsub(/`[^`]*`/, "code"); print }' "$document" |
        grep -o '](\([^)]*\))' | sed 's/^](//; s/)$//' >"$dir/links"
    while read -r link; do
        case $link in
        http://* | https://* | mailto:*) continue ;;
        \#*) path=$document ;;
        *) path=$(dirname "$document")/${link%%#*} ;;
        esac
        count=$((count + 1))
        [ -e "$path" ] || echo "$document: there is no $link" >>"$bad"
        case $link in
        *\#*)
            # As GitHub makes them: small letters, blanks to hyphens, no punctuation.
            grep '^#' "$path" 2>/dev/null | sed 's/^#* *//' | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9_\n-' |
                grep -qx -- "${link#*#}" || echo "$document: $link has no such heading" >>"$bad"
            ;;
        esac
    done <"$dir/links"
done <"$dir/documents"
none "$count links in documents lead to something"

# ------------------------------------------------------------------ Protocol

# Where a name of the tables lies: below crates/, tests/ or the root.
place() {
    for path in "crates/$1" "tests/$1" "$1"; do
        if [ -f "$path" ]; then echo "$path"; return; fi
    done
}

# exists NAME FILE: a function; is_test NAME FILE: a test.
exists() {
    grep -Eq "^ *(pub(\([a-z]+\))? )?(const )?fn $1[(<]" "$2"
}

is_test() {
    case $2 in
    *.rs) grep -A 3 "#\[test\]" "$2" | grep -q "fn $1(" ;;
    *.txt) grep -Fqx "[$1]" "$2" ;;
    *.py) grep -q "^def $1(" "$2" ;;
    *.c) grep -Eq "^static void $1\(" "$2" && grep -q "TEST($1)" "$2" ;;
    *) false ;;
    esac
}

count=0
# Columns are cut at " | "; the third is where, the fourth is the test.
awk -F ' [|] ' '/^\|/ && !/^\|-/ && !/^\| Section / {
    if (NF != 4) print FNR "\tbad\t" $0
    for (column = 3; column <= 4; column++) {
        rest = $column; found = 0
        while (match(rest, /`[^`]+`/)) {
            print FNR "\t" (column == 3 ? "exists" : "is_test") "\t" substr(rest, RSTART + 1, RLENGTH - 2)
            rest = substr(rest, RSTART + RLENGTH); found = 1
        }
        if (!found) print FNR "\tbad\t" $0
    }
}' docs/protocol.md >"$dir/names"
tab=$(printf '\t')
while IFS=$tab read -r line kind name; do
    count=$((count + 1))
    path=$(place "${name%%:*}")
    if [ "$kind" = bad ]; then
        echo "docs/protocol.md:$line: a row has a section, a rule, where and a test" >>"$bad"
    elif [ -z "$path" ]; then
        echo "docs/protocol.md:$line: there is no ${name%%:*}" >>"$bad"
    elif ! $kind "${name#*:}" "$path"; then
        echo "docs/protocol.md:$line: $path has no such $([ $kind = exists ] && echo function || echo test): ${name#*:}" >>"$bad"
    fi
done <"$dir/names"
[ "$count" -gt 0 ] || echo "docs/protocol.md names nothing" >>"$bad"
none "$count functions and tests of docs/protocol.md exist"

# -------------------------------------------------------------------- Limits

# "16 MiB" as Rust may write it: 16 << 20 or the number, with or without _.
in_rust() {
    number=$(echo "${1%% *}" | tr -d ,)
    case $1 in
    *\ GiB) echo "$number << 30|$((number << 30))" ;;
    *\ MiB) echo "$number << 20|$((number << 20))" ;;
    *\ KiB) echo "$number << 10|$((number << 10))" ;;
    *\ Ki) echo "$number << 10|$((number << 10))" ;;
    *\ s) echo "$((number * 1000))" ;;
    DARI_NEVER) echo NEVER ;;
    *) echo "$number" ;;
    esac
}

count=0
# A row of a table of limits: name, default, ..., and at its end a place in the code, or -.
awk -F ' [|] ' '!/^\|/ { inside = 0 } /^\| Limit / { inside = 1; next } inside && /^\| / {
    place = $NF; sub(/ \|$/, "", place); gsub(/`/, "", place)
    name = $1; sub(/^\| /, "", name)
    print name "\t" $2 "\t" place
}' docs/limits.md >"$dir/limits"
while IFS=$tab read -r name value place; do
    count=$((count + 1))
    [ "$place" = - ] && continue
    path=${place%%:*}
    in=${place#*:}
    # Numbers are compared without their underscores.
    if ! sed 's/\([0-9]\)_\([0-9]\)/\1\2/g' "$path" | grep -Eq "(^|[ {])$in(: [a-z0-9]+ =|:) *($(in_rust "$value"))[,; ]"; then
        echo "docs/limits.md: $name is not $value in $place" >>"$bad"
    fi
    case $name in
    \`*)
        # The comment in front of the field says its default, too.
        field=$(echo "$name" | tr -d '`')
        awk -v field="$field" '
            /^ *\/\// { sub(/^ *\/\/ */, ""); comment = comment " " $0; next }
            $2 == field ";" { print comment }
            { comment = "" }' include/dari.h | grep -q "Default $value[.,;]" ||
            echo "include/dari.h: $field is not said to be $value" >>"$bad"
        ;;
    esac
done <"$dir/limits"
# None is forgotten: every number that dari_limits_t, dari_listen_t and dari_loop_config_t have, has a row.
for field in $(awk '/^typedef struct/ { fields = "" } /^ *(size_t|uint32_t) / { fields = fields " " $2 }
    /^} dari_(limits|listen|loop_config)_t;/ { print fields }' include/dari.h | tr -d ';'); do
    case $field in struct_size | reserved) continue ;; esac
    grep -q "^| \`$field\` |" docs/limits.md || echo "docs/limits.md: $field is missing" >>"$bad"
    # And each can be set from outside: as a number, or by a word where it is a choice.
    case $field in
    deflate) option='"--deflate"' ;;
    slow) option='"--slow"' ;;
    flags) option='"--limit-loopback"' ;;
    log_level) option='"--log"' ;;
    *) option="($field)" ;;
    esac
    grep -qF -- "$option" tests/c/echo_server.c || echo "tests/c/echo_server.c: no option for $field" >>"$bad"
done
none "$count limits are those of the sources and of dari.h"

# -------------------------------------------------------------------- README

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
check "README.md says which Rust is needed" grep -q "Rust $rust or later" README.md
check "CHANGELOG.md has the version of Cargo.toml" grep -q "^## \[$version\]" CHANGELOG.md
check "README.md has the echo server whole" sh -c '
    awk "/^<!-- file: examples-c\/echo.c -->/ { on = 1; next } on && /^\`\`\`c/ { in_c = 1; next }
         in_c && /^\`\`\`/ { exit } in_c" README.md | cmp -s - examples-c/echo.c'

summary
