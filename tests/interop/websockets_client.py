"""websockets_client.py ECHO LIMITED CHAT: the Python package `websockets` as a client of dari's echo server
(LIMITED: one with --max-message 1000) and of the chat. The arguments are ports."""
import sys
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from report import KOREAN, expect, report

ECHO, LIMITED, CHAT = (f"ws://127.0.0.1:{port}/" for port in sys.argv[1:])


def opened(url, **options):
    return connect(url, **{"proxy": None, "max_size": None, "compression": None, "ping_interval": None, "legacy": True, **options})


def echoes(message, **options):
    with opened(ECHO, **options) as socket:
        socket.send(message)
        expect(socket.recv(), message)


def fragments():
    with opened(ECHO) as socket:
        socket.send(["첫째 ", "", "둘째 ", "셋째"])
        expect(socket.recv(), "첫째 둘째 셋째")
        socket.send(bytes([number & 255]) for number in range(1000))
        expect(socket.recv(), bytes(number & 255 for number in range(1000)))


def pings():
    with opened(ECHO) as socket:
        for data in [b"", b"p", b"x" * 125]:
            if not socket.ping(data or None).wait(5):
                raise AssertionError("no pong")
        socket.pong(b"nobody asked")
        socket.send("still there")
        expect(socket.recv(), "still there")


def closes(code):
    with opened(ECHO) as socket:
        socket.close(code, "끝")
        expect(socket.protocol.close_rcvd.code, code)
        expect(socket.protocol.close_rcvd_then_sent, False, "the server closed first:")


def too_big():
    with opened(LIMITED) as socket:
        socket.send("x" * 1000)
        expect(len(socket.recv()), 1000)
        try:
            socket.send("x" * 1001)
            socket.recv()
        except ConnectionClosed as end:
            expect(end.rcvd and end.rcvd.code, 1009)
        else:
            raise AssertionError("an echo came back")


def guest(room, nick):
    socket = opened(f"{CHAT}{quote(room)}?nick={quote(nick)}")
    expect(socket.recv()[:9], "* Welcome")
    heard(socket, "# ")
    return socket


def heard(socket, start):
    """The next line that starts like this."""
    while not (line := socket.recv()).startswith(start):
        pass
    return line


def relays():
    with guest("파이썬", "anna") as anna, guest("파이썬", "봄") as bom, guest("파이썬", "cheol") as cheol:
        anna.send("안녕, 모두")
        for other in (bom, cheol):
            expect(heard(other, "<"), "<anna> 안녕, 모두")
        bom.send("나도 안녕")
        for other in (anna, cheol):  # the first word that anna hears is not her own
            expect(heard(other, "<"), "<봄> 나도 안녕")
        cheol.close(1000)
        expect(heard(anna, "- ")[:12], "- cheol left")


def foreign_page():
    try:
        opened(CHAT, origin="http://elsewhere.example").close()
    except InvalidStatus as refusal:
        expect(refusal.response.status_code, 403)
    else:
        raise AssertionError("let in")


report([
    ("echo of Korean text", lambda: echoes(KOREAN)),
    ("echo when permessage-deflate is offered", lambda: echoes(KOREAN, compression="deflate")),
    ("fragments become one message", fragments),
    ("pings are answered", pings),
    *((f"close {code} is answered with itself", lambda c=code: closes(c)) for code in (1000, 1001, 3000, 4999)),
    ("a message over the limit is closed with 1009", too_big),
    ("the chat relays to the room, not to the sender", relays),
    ("the chat lets no foreign page in", foreign_page),
])
