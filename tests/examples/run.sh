#!/bin/sh
# Runs every example, and tests/c/echo_server, as their users would, and looks
# at what they print and how they end.     run.sh [FOLDER OF THE PROGRAMS]
# RUN="valgrind ..." runs each of them under it. Needs a shell, openssl and what
# `make examples` builds; ends every process that it started.
cd "$(dirname "$0")/../.." || exit 1
. tests/examples/count.sh
bin=${1:-target/c}
dir=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
# Writing to a client that died is for the next check to tell. A handler, and
# not '': what is ignored here would be ignored in the programs, too.
trap : PIPE

# ------------------------------------------------------------------- Helpers

# Whether FILE holds TEXT before long: 30 s are for valgrind on a busy machine.
waits() { # FILE TEXT
    tries=0
    until grep -qF -e "$2" "$dir/$1" 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ]; then
            echo "        no \"$2\" in $1:"
            sed 's/^/        | /' "$dir/$1" 2>/dev/null
            return 1
        fi
        sleep 0.1
    done
}

lacks() { # FILE TEXT
    ! grep -qF -e "$2" "$dir/$1"
}

# Starts a server; when it listens, its process is in $pid, its port in $port.
serve() { # PROGRAM ARGUMENT...
    program=$1
    shift
    rm -f "$dir/server" # Or the last one's words would be taken for this one's.
    $RUN "$bin/$program" "$@" >"$dir/server" 2>"$dir/server.err" &
    pid=$!
    pids="$pids $pid"
    waits server "listening on" || { cat "$dir/server.err"; fail "$program does not start"; summary; }
    port=$(sed -n 's/^listening on .*[: ]\([0-9]*\)$/\1/p' "$dir/server" | head -n 1)
}

# Starts a client whose input is kept open as descriptor FD until `hang_up FD`;
# what it hears goes to FILE, how it fares to FILE.err, its process to $FILE.
talk() { # FD FILE URL
    mkfifo "$dir/$2.in"
    $RUN "$bin/client" "$3" <"$dir/$2.in" >"$dir/$2" 2>"$dir/$2.err" &
    eval "$2=$!"
    pids="$pids $!"
    eval "exec $1>'$dir/$2.in'"
    waits "$2.err" open
}

say() { # FD TEXT
    eval "printf '%s\n' \"\$2\" >&$1"
}

hang_up() { # FD
    eval "exec $1>&-"
}

# Whether the process ends with that status.
ends() { # PID STATUS
    wait "$1"
    [ $? -eq "$2" ]
}

# The same after a signal.
ends_on() { # SIGNAL PID
    kill "-$1" "$2" && ends "$2" 0
}

# Whether a command ends with that status and says TEXT.
answers() { # STATUS TEXT COMMAND...
    status=$1
    text=$2
    shift 2
    timeout 60 $RUN "$@" >"$dir/out" 2>&1 </dev/null
    [ $? -eq "$status" ] && waits out "$text"
}

# -------------------------------------------------------------- echo, client

serve echo 127.0.0.1:0
printf '안녕\nhello\n' | timeout 60 $RUN "$bin/client" "ws://127.0.0.1:$port/" >"$dir/out" 2>"$dir/err"
check "client: the end of the input is a clean end" [ $? -eq 0 ]
check "echo: says back what it hears, Korean too" [ "$(cat "$dir/out")" = "$(printf '안녕\nhello')" ]
check "client: tells how it ended" waits err 'close: 1000 "" (clean)'
printf 'from a file\n' >"$dir/file"
timeout 60 $RUN "$bin/client" "ws://127.0.0.1:$port/" <"$dir/file" >"$dir/out" 2>"$dir/err"
check "client: reads a file, which cannot be polled" waits out "from a file"
seq 1 20000 >"$dir/many"
timeout 60 $RUN "$bin/client" "ws://127.0.0.1:$port/" <"$dir/many" >"$dir/out" 2>"$dir/err"
check "client: 20,000 lines come back in order" cmp "$dir/many" "$dir/out"
check "client_cpp: hears itself three times and goes" answers 0 "closed: " "$bin/client_cpp" "ws://127.0.0.1:$port/"
talk 3 ann "ws://127.0.0.1:$port/"
check "client: Ctrl-C is a clean end" ends_on INT "$ann"
hang_up 3
talk 3 bob "ws://127.0.0.1:$port/"
check "echo: SIGTERM ends it in order" ends_on TERM "$pid"
check "echo: and tells the peer 1001" waits bob.err "close: 1001"
check "client: which is a clean end" ends "$bob" 0
hang_up 3
check "client: nobody listens" answers 1 "refused" "$bin/client" "ws://127.0.0.1:$port/"
check "client: not a URL" answers 1 "client: " "$bin/client" "nonsense"
check "echo: not an address" answers 1 "echo: " "$bin/echo" "nonsense"

# --------------------------------------------------------------- echo_server

serve echo_server 127.0.0.1:0 --broadcast --max-message 10
talk 3 cat "ws://127.0.0.1:$port/"
talk 4 dan "ws://127.0.0.1:$port/"
say 3 "to all"
check "echo_server --broadcast: the speaker hears it" waits cat "to all"
check "echo_server --broadcast: so do the others" waits dan "to all"
say 3 "much too long"
check "echo_server --max-message: 1009" waits cat.err "close: 1009"
wait "$cat"
check "echo_server: SIGINT ends it in order" ends_on INT "$pid"
check "echo_server: and tells the peer 1001" waits dan.err "close: 1001"
wait "$dan"
hang_up 3
hang_up 4
check "echo_server: no address is bad usage" answers 2 "usage:" "$bin/echo_server"
check "echo_server: an unknown option is bad usage" answers 2 "unknown option --nonsense" "$bin/echo_server" 127.0.0.1:0 --nonsense
check "echo_server: so is a bad value" answers 2 "bad value" "$bin/echo_server" 127.0.0.1:0 --max-message -1
check "echo_server: so is one that does not fit" answers 2 "bad value for --idle-ms" "$bin/echo_server" 127.0.0.1:0 --idle-ms 4294967296
check "echo_server: what excludes each other is told" answers 1 "takeover" "$bin/echo_server" 127.0.0.1:0 --deflate --slow drop_oldest
serve echo_server 127.0.0.1:0 --max-conns 1 --idle-ms never --max-memory unlimited --log debug --stats
talk 3 max "ws://127.0.0.1:$port/"
check "echo_server --max-conns: one too many" answers 0 "REFUSED the server refused the handshake with status 503" "$bin/echo_client" "ws://127.0.0.1:$port/"
check "echo_server --log: lines with level, event and peer" waits server.err "debug open 127.0.0.1:"
check "echo_server --log: and who was turned away" waits server.err "limited"
hang_up 3
check "echo_server --log: and why each has ended" waits server.err "the peer closed, code 1000"
check "echo_server --stats: ends in order" ends_on TERM "$pid"
check "echo_server --stats: and has counted" waits server '{"accepted":2,"dialled":0,"open":0,"opened":1,'
check "echo_server --stats: also by cause" waits server '"closes":{"1":1,"23":1}}'
serve echo_server 127.0.0.1:0 --threads 3 --broadcast --stats
talk 3 ned "ws://127.0.0.1:$port/"
talk 4 olga "ws://127.0.0.1:$port/"
say 3 "across threads"
check "echo_server --threads: one port, whichever loop" waits olga "across threads"
check "echo_server --threads: the speaker hears it, too" waits ned "across threads"
hang_up 3
hang_up 4
wait "$ned" "$olga"
check "echo_server --threads: all end in order" ends_on TERM "$pid"
check "echo_server --threads: each has counted" [ "$(grep -c accepted "$dir/server")" -eq 3 ]
serve echo_server "unix:$dir/socket"
check "echo_server: a unix socket" waits server "listening on unix:$dir/socket"
check "echo_server: which ends in order, too" ends_on TERM "$pid"

# ------------------------------------------------------------- relay_threads

serve echo 127.0.0.1:0
alone=$port
serve relay_threads 127.0.0.1:0 4
check "relay_threads: as many loops as it was told" waits server "4 loops"
talk 3 ida "ws://127.0.0.1:$port/"
talk 4 jim "ws://127.0.0.1:$port/"
talk 5 kay "ws://127.0.0.1:$port/"
talk 6 lea "ws://127.0.0.1:$port/"
talk 7 mia "ws://127.0.0.1:$port/"
say 3 "on whichever loop"
say 7 "you are"
for name in jim kay lea; do
    check "relay_threads: $name hears one" waits $name "on whichever loop"
    check "relay_threads: and the other" waits $name "you are"
done
check "relay_threads: who speaks hears the others" waits ida "you are"
check "relay_threads: but not himself" lacks ida "on whichever loop"
check "relay_threads: says why it can not listen" answers 1 "which a socket without reuse_port has" "$bin/relay_threads" "127.0.0.1:$alone"
check "relay_threads: SIGTERM ends all loops in order" ends_on TERM "$pid"
for name in ida jim kay lea mia; do
    check "relay_threads: and tells $name 1001" waits $name.err "close: 1001"
    eval "wait \$$name"
done
hang_up 3
hang_up 4
hang_up 5
hang_up 6
hang_up 7
check "relay_threads: no threads are bad usage" answers 2 "usage:" "$bin/relay_threads" 127.0.0.1:0 0

# --------------------------------------------------------------- embed_epoll

serve embed_epoll 127.0.0.1:0
talk 3 eve "ws://127.0.0.1:$port/"
say 3 "hello"
check "embed_epoll: dari has its turns" waits eve "hello"
check "embed_epoll: the program's own clock ticks" waits eve "tick "
check "embed_epoll: SIGTERM ends it in order" ends_on TERM "$pid"
check "embed_epoll: and tells the peer 1001" waits eve.err "close: 1001"
wait "$eve"
hang_up 3

# ---------------------------------------------------------------------- chat

serve chat 127.0.0.1:0
check "chat: prints where to go" waits server "listening on http://127.0.0.1:$port"
talk 3 fay "ws://127.0.0.1:$port/?nick=%EB%AF%BC%EC%88%98"
talk 4 gil "ws://127.0.0.1:$port/"
talk 5 hal "ws://127.0.0.1:$port/%EB%8B%A4%EB%A6%AC"
check "chat: welcomes to the lobby" waits fay "* Welcome to the lobby, 민수!"
check "chat: welcomes to a room with a Korean name" waits hal "* Welcome to the 다리 room, guest-"
check "chat: says who joins" waits fay "+ guest-2 joined"
check "chat: lists who is here" waits gil "# 2 here: "
say 3 "안녕하세요"
check "chat: passes on what is said" waits gil "<민수> 안녕하세요"
say 4 "/nick 영희"
check "chat: renames" waits gil "= you are 영희"
check "chat: and tells the others" waits fay "~ guest-2 is now 영희"
say 4 "/nick 민수"
check "chat: a name is one person's" waits gil "! somebody here is 민수 already"
say 4 "/nick two words"
check "chat: a name has no blanks" waits gil "! a name has"
say 4 "/nick $(printf 'x\033[2J')"
say 4 "$(printf 'red \033[31m')"
check "chat: control characters are not passed on" waits gil "! control characters are not passed on"
say 4 "$(head -c 2001 /dev/zero | tr '\0' x)"
check "chat: what is too long is refused" waits gil "! that was 2001 bytes, and 2000 is the most"
say 4 "/nonsense"
check "chat: an unknown command is told so" waits gil "! no such command"
say 4 "still here"
check "chat: and none of it did harm" waits fay "<영희> still here"
talk 6 ian "ws://127.0.0.1:$port/?nick=%EB%AF%BC%EC%88%98"
check "chat: a name that is taken gets a number" waits ian "= you are 민수-2"
check "chat: a newcomer hears the past" waits ian "Z] <민수> 안녕하세요"
check "chat: what is said in the lobby stays there" lacks hal "안녕하세요"
check "chat: the speaker does not hear himself" lacks fay "<민수>"
hang_up 6
wait "$ian"
check "chat: says who left and why" waits fay "- 민수-2 left: the peer closed, code 1000"
kill -KILL "$gil"
wait "$gil" 2>/dev/null
check "chat: tells of those who vanished" waits fay "- 영희 left: the peer ended the stream"
check "chat: a room's name has no blanks" answers 1 "400" "$bin/client" "ws://127.0.0.1:$port/two%20words"
check "chat: nor is it endless" answers 1 "400" "$bin/client" "ws://127.0.0.1:$port/$(head -c 61 /dev/zero | tr '\0' x)"

printf 'GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nCONNECTION: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n' |
    "$bin/raw" "$port" >"$dir/typed"
check "chat: takes a handshake typed by hand" waits typed "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
check "chat: whose typist can read the Welcome" waits typed "Welcome to the lobby"
printf 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' | "$bin/raw" "$port" >"$dir/page"
check "chat: serves the page on the same port" waits page "<title>dari chat</title>"
printf 'GET /chat.js HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' | "$bin/raw" "$port" >"$dir/script"
check "chat: a script is served as one" waits script "text/javascript"
check "chat: SIGTERM ends it in order" ends_on TERM "$pid"
check "chat: and tells the peers 1001" waits fay.err "close: 1001"
check "chat: in every room" waits hal.err "close: 1001"
wait "$fay" "$hal"
hang_up 3
hang_up 4
hang_up 5
check "chat: says that the page is missing" answers 1 "the page is not in \"nowhere\"" "$bin/chat" 127.0.0.1:0 --folder nowhere
check "chat: an unknown option is bad usage" answers 2 "usage:" "$bin/chat" --nonsense

# ----------------------------------------------------------------------- bot

serve chat 127.0.0.1:0
$RUN "$bin/bot_cpp" "ws://127.0.0.1:$port/?nick=bot" 2>"$dir/bot.err" &
bot=$!
pids="$pids $bot"
check "bot_cpp: joins the chat" waits server "bot joined"
talk 3 jan "ws://127.0.0.1:$port/?nick=jan"
check "bot_cpp: greets whoever comes" waits jan "<bot> Hello, jan! I answer !help and !time."
say 3 "!help"
check "bot_cpp: helps" waits jan "<bot> !time tells the time."
say 3 "!time"
check "bot_cpp: tells the time" waits jan " UTC."
kill -TERM "$pid"
wait "$pid" "$jan"
hang_up 3
check "bot_cpp: waits for a chat that has gone" waits bot.err "attempt 1 in"
serve chat "127.0.0.1:$port"
check "bot_cpp: and joins again" waits server "bot joined"
check "bot_cpp: SIGTERM ends it in order" ends_on TERM "$bot"
check "bot_cpp: does not wait for a room that will not have it" answers 1 "bot: the server refused the handshake" "$bin/bot_cpp" "ws://127.0.0.1:$port/two%20words"
check "bot_cpp: not a URL" answers 1 "bot: dari_loop_connect: " "$bin/bot_cpp" nonsense
kill -TERM "$pid"
wait "$pid"

# ----------------------------------------------------------------------- wss

# A certificate that is its own CA, in NAME.pem, and its key in NAME.key.
certificate() { # NAME ALTERNATIVE-NAMES
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -addext "subjectAltName=$2" -addext basicConstraints=critical,CA:FALSE \
        -keyout "$dir/$1.key" -out "$dir/$1.pem" 2>"$dir/out" || { cat "$dir/out"; return 1; }
}

command -v openssl >/dev/null || { fail "openssl is missing: apt-get install openssl"; summary; }
check "openssl makes certificates" certificate old DNS:localhost
check "and another one" certificate new DNS:localhost
cp "$dir/old.pem" "$dir/cert"
cp "$dir/old.key" "$dir/key"
serve wss_server 127.0.0.1:0 "$dir/cert" "$dir/key"
url="wss://localhost:$port/"
check "wss_client: hears itself" answers 0 hello "$bin/wss_client" "$url" --ca "$dir/old.pem"
check "wss_client: trusts nobody whom it does not know" answers 1 "close: TLS failed: " "$bin/wss_client" "$url"
check "wss_client: nor a certificate for another name" answers 1 "close: TLS failed: " "$bin/wss_client" "wss://127.0.0.1:$port/" --ca "$dir/old.pem"
check "wss_client: speaks ws, too" answers 1 "close: " "$bin/wss_client" "ws://127.0.0.1:$port/"
cp "$dir/new.pem" "$dir/cert"
kill -HUP "$pid"
check "wss_server: a certificate without its key is refused" waits server.err "wss_server: dari_tls_reload: "
check "wss_server: and the old one goes on" answers 0 hello "$bin/wss_client" "$url" --ca "$dir/old.pem"
cp "$dir/new.key" "$dir/key"
kill -HUP "$pid"
check "wss_server: SIGHUP reads the certificate again" waits server.err "the certificate was read again"
check "wss_server: and new connections get it" answers 0 hello "$bin/wss_client" "$url" --ca "$dir/new.pem"
check "wss_server: in place of the old one" answers 1 "close: TLS failed: " "$bin/wss_client" "$url" --ca "$dir/old.pem"
check "wss_server: SIGTERM ends it in order" ends_on TERM "$pid"
check "wss_server: says which file will not do" answers 1 "$dir/nonsense" "$bin/wss_server" 127.0.0.1:0 "$dir/nonsense" "$dir/key"
check "wss_server: no certificate is bad usage" answers 2 "usage:" "$bin/wss_server" 127.0.0.1:0
check "wss_client: says which file will not do" answers 1 "$dir/nonsense" "$bin/wss_client" "$url" --ca "$dir/nonsense"
check "wss_client: no URL is bad usage" answers 2 "usage:" "$bin/wss_client"

summary
