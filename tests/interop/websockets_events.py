"""websockets_events.py DEFLATE CLIENT: what dari's echo_client (the program CLIENT) says of servers of the Python package
`websockets`, good and bad; and floods of compressed messages, for it and for the echo server at the port DEFLATE."""
import contextlib
import http
import socket
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.sync.server import serve

from exchange import EchoClient
from report import DEADLINE, expect, report

DEFLATE, CLIENT = sys.argv[1:]
FLOOD = [f"{number:04} ".ljust(1 << 18, "가") for number in range(100)]  # 768 KiB each, and 1 when compressed


@contextlib.contextmanager
def server(handler=lambda connection: None, **options):
    with serve(handler, "127.0.0.1", 0, **{"compression": None, "max_size": None, **options}) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}/path?query=1"
        finally:
            running.shutdown()


def client(url, *options):
    return EchoClient(CLIENT, url, *options)


def protocols_and_headers():
    seen = []

    def handler(connection):
        seen.append(connection.request)

    with server(handler, subprotocols=["chat.v1", "chat.v2"]) as url:
        words = ["--protocol", "chat.v3", "--protocol", "chat.v2", "--header", "X-Token: a:b", "--header", "X-Empty:"]
        with client(url, *words) as echo:
            echo.says("open chat.v2", "close 1000 clean PEER ")
            echo.ends(0)
    expect(seen[0].path, "/path?query=1")
    expect([seen[0].headers[name] for name in ("X-Token", "X-Empty", "Sec-WebSocket-Protocol")], ["a:b", "", "chat.v3, chat.v2"])


def closes(code, reason, said):
    with server(lambda connection: connection.close(code, reason)) as url, client(url) as echo:
        echo.says("open -", f"close {code} clean PEER ")
        echo.ends(0)
        if said not in echo.last:
            raise AssertionError(f"{said!r} is not in {echo.last!r}")


def dropped():
    with server(lambda connection: connection.socket.shutdown(socket.SHUT_RDWR)) as url, client(url) as echo:
        echo.says("open -", "error ", "close 1006 unclean EOF ")
        echo.ends(0)


def too_big():
    ended = []

    def handler(connection):
        connection.send("x" * 1000)
        expect(connection.recv(), "x" * 1000)
        connection.send("x" * 1001)
        with contextlib.suppress(ConnectionClosed):
            connection.recv(DEADLINE)
        ended.append(connection.protocol.close_rcvd.code)

    for options in ({}, {"compression": "deflate"}):
        with server(handler, **options) as url, client(url, "--deflate", "--max-message", "1000") as echo:
            echo.says("open -", "message text 1000", "error ", "close 100")  # 1009 comes back, or 1006 if the peer just goes
            echo.ends(0)
            expect(echo.last.split()[2:4], ["unclean", "TOO_BIG"])
    expect(ended, [1009, 1009])


def refused():
    def respond(connection, _):
        return connection.respond(http.HTTPStatus.FORBIDDEN, "no\n")

    with server(process_request=respond) as url, client(url) as echo:
        echo.says("error ", "close 1006 unclean REFUSED ")
        echo.ends(0)
        if "403" not in echo.last:
            raise AssertionError(echo.last)


def silent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with client(f"ws://127.0.0.1:{listener.getsockname()[1]}/", "--timeout", "100") as echo:
            echo.says("error ", "close 1006 unclean HANDSHAKE_TIMEOUT ")
            echo.ends(0)


def nobody():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client(f"ws://127.0.0.1:{port}/") as echo:
        echo.says("error ", "close 1006 unclean CONNECT ")
        echo.ends(0)


def bad_calls():
    for words in (["ws://"], ["ftp://localhost/"], ["ws://localhost/#part"], ["ws://localhost/", "--protocol", "a b"],
                  ["ws://localhost/", "--protocol", "a", "--protocol", "a"], ["ws://localhost/", "--header", "Upgrade: x"],
                  ["ws://localhost/", "--header", "X: a\nb"]):
        with client(*words) as echo:
            echo.says("refused ")
            echo.ends(2)


def flood(connection):
    """Everything at once, but nothing back compressed, for which dari would need a window of more than 8 bits: it gets
    more from each read than it may queue, and must lose none of it."""
    def send():
        for message in FLOOD:
            connection.send(message)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for message in FLOOD:
        expect(connection.recv(DEADLINE), message)
    sender.join()


def flooded_server():
    offer = [ClientPerMessageDeflateFactory(server_max_window_bits=8)]
    with connect(f"ws://127.0.0.1:{DEFLATE}/", proxy=None, max_size=None, extensions=offer, compression=None, legacy=True) as connection:
        flood(connection)


def flooded_client():
    answer = [ServerPerMessageDeflateFactory(client_max_window_bits=8)]
    with server(flood, extensions=answer) as url, client(url, "--deflate") as echo:
        echo.says("open -", *(f"message text {len(message.encode())}" for message in FLOOD), "close 1000 clean PEER ")
        echo.ends(0)


report([
    ("the protocol and the headers arrive", protocols_and_headers),
    ("a close with a reason is told", lambda: closes(3000, "끝", "끝")),
    ("control characters in a reason are escaped", lambda: closes(4999, "one\ntwo\x1b\x9b", "\\")),
    ("a connection that is dropped is told", dropped),
    ("a message over the limit is told, compressed or not", too_big),
    ("a refusal is told with its status", refused),
    ("a server that says nothing is given up", silent),
    ("nobody there is told", nobody),
    ("a call that is no good is refused", bad_calls),
    ("a server loses nothing of a flood", flooded_server),
    ("a client loses nothing of a flood", flooded_client),
])
