"""wsproto_client.py ECHO LIMITED CHAT: the Python package `wsproto`, a codec without a socket of its own, as a client of
dari's echo server (LIMITED: one with --max-message 1000) and of the chat. The arguments are ports."""
import socket
import sys

from wsproto import ConnectionType, WSConnection
from wsproto.frame_protocol import CloseReason
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Pong, RejectConnection, Request,
                            TextMessage)

from report import KOREAN, expect, report

ECHO, LIMITED, CHAT = (int(port) for port in sys.argv[1:])


class Peer:
    """One connection: wsproto's events over a blocking socket."""

    def __init__(self, port, target="/"):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.codec = WSConnection(ConnectionType.CLIENT)
        self.waiting = []
        self.send(Request(host=f"127.0.0.1:{port}", target=target))
        event = self.event()
        if not isinstance(event, AcceptConnection):
            raise AssertionError(f"not accepted: {event}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, event):
        self.socket.sendall(self.codec.send(event))

    def event(self):
        while not self.waiting:
            self.codec.receive_data(self.socket.recv(1 << 18) or None)
            self.waiting = list(self.codec.events())
        return self.waiting.pop(0)

    def message(self):
        """A whole message: wsproto hands out what it has of it."""
        pieces = []
        while True:
            event = self.event()
            if not isinstance(event, Message):
                raise AssertionError(f"{event} instead of a message")
            pieces.append(event.data)
            if event.message_finished:
                return pieces[0][:0].join(pieces)


def korean():
    with Peer(ECHO) as peer:
        peer.send(TextMessage(data=KOREAN))
        expect(peer.message(), KOREAN)


def fragments():
    with Peer(ECHO) as peer:
        for piece, last in [("첫째 ", False), ("", False), ("둘째", True)]:
            peer.send(TextMessage(data=piece, message_finished=last))
        expect(peer.message(), "첫째 둘째")


def pings():
    with Peer(ECHO) as peer:
        peer.send(TextMessage(data="begun ", message_finished=False))
        for data in [b"", b"p", b"x" * 125]:
            peer.send(Ping(payload=data))
            expect(peer.event(), Pong(payload=data))
        peer.send(TextMessage(data="and done"))
        expect(peer.message(), "begun and done")


def closes(code, reason):
    with Peer(ECHO) as peer:
        peer.send(CloseConnection(code=code, reason=reason))
        event = peer.event()
        expect((type(event), event.code), (CloseConnection, code))
        expect(peer.socket.recv(1), b"", "behind the close came")


def too_big():
    with Peer(LIMITED) as peer:
        peer.send(BytesMessage(data=bytes(1000)))
        expect(peer.message(), bytes(1000))
        peer.send(BytesMessage(data=bytes(1001)))
        event = peer.event()
        expect((type(event), event.code), (CloseConnection, 1009))


def sum_too_big():
    with Peer(LIMITED) as peer:
        peer.send(BytesMessage(data=bytes(600), message_finished=False))
        peer.send(BytesMessage(data=bytes(600), message_finished=False))
        event = peer.event()
        expect((type(event), event.code), (CloseConnection, 1009))


def relays():
    with Peer(CHAT, "/wsproto?nick=anna") as anna, Peer(CHAT, "/wsproto?nick=bom") as bom:
        expect(anna.message()[:9], "* Welcome")
        anna.send(TextMessage(data="안녕"))
        while not (line := bom.message()).startswith("<"):
            pass
        expect(line, "<anna> 안녕")
        bom.send(TextMessage(data="hello"))
        while not (line := anna.message()).startswith("<"):
            pass
        expect(line, "<bom> hello")


def no_such_room():
    """A refusal by the program's own hook arrives as HTTP."""
    peer = Peer.__new__(Peer)
    peer.socket = socket.create_connection(("127.0.0.1", CHAT))
    peer.codec, peer.waiting = WSConnection(ConnectionType.CLIENT), []
    with peer:
        peer.send(Request(host=f"127.0.0.1:{CHAT}", target="/" + "long" * 100))
        event = peer.event()
        expect((type(event), event.status_code), (RejectConnection, 400))


report([
    ("echo of Korean text", korean),
    ("fragments become one message", fragments),
    ("pings are answered between fragments", pings),
    *((f"close {code} is answered with itself", lambda c=code: closes(c, "끝")) for code in (1000, 3000, 4999)),
    ("a close without a code is answered without one", lambda: closes(CloseReason.NO_STATUS_RCVD, None)),
    ("a message over the limit is closed with 1009", too_big),
    ("fragments over the limit together are closed with 1009", sum_too_big),
    ("the chat relays to the room, not to the sender", relays),
    ("the chat refuses a room's name with 400", no_such_room),
])
