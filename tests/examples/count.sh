# What the test scripts share: counting, and the line at the end. To be read
# in with `.`; it never runs a test itself.
passed=0
failed=0

pass() {
    passed=$((passed + 1))
    echo "ok      $1"
}

fail() {
    failed=$((failed + 1))
    echo "FAILED  $1"
}

# check DESCRIPTION COMMAND...: passes if the command does.
check() {
    what=$1
    shift
    if "$@"; then pass "$what"; else fail "$what"; fi
}

# The last line; exits with what it says.
summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
