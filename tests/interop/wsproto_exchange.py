"""wsproto_exchange.py PLAIN DEFLATE CLIENT: messages of every size between the Python package `wsproto`, a codec without
a socket of its own, and dari, each as client and as server, plain and under the agreements on compression that wsproto
can ask for. PLAIN and DEFLATE are ports of echo servers, CLIENT is the program echo_client."""
import socket
import sys

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from exchange import AGREEMENTS, NAME, EchoClient, exchange
from report import DEADLINE, expect, report

PLAIN, DEFLATE, CLIENT = sys.argv[1:]


class Peer:
    """wsproto over a blocking socket, its bytes counted."""

    def __init__(self, connection, role):
        self.socket = connection
        self.socket.settimeout(DEADLINE)
        self.codec = WSConnection(role)
        self.sent = self.received = 0
        self.waiting = []

    def give(self, event):
        data = self.codec.send(event)
        self.sent += len(data)
        self.socket.sendall(data)

    def event(self, wanted):
        while not self.waiting:
            data = self.socket.recv(1 << 18)
            self.received += len(data)
            self.codec.receive_data(data or None)
            self.waiting = list(self.codec.events())
        event = self.waiting.pop(0)
        if not isinstance(event, wanted):
            raise AssertionError(f"{event} instead of {wanted.__name__}")
        return event

    def send(self, message):
        self.give(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))

    def send_pieces(self, pieces):
        for at, piece in enumerate(pieces):
            self.give(TextMessage(data=piece, message_finished=at == len(pieces) - 1))

    def receive(self):
        """A whole message: wsproto hands out what it has of it."""
        pieces = [self.event(Message)]
        while not pieces[-1].message_finished:
            pieces.append(self.event(Message))
        return pieces[0].data[:0].join(piece.data for piece in pieces)

    def close(self):
        self.give(CloseConnection(code=1000))
        expect(self.event(CloseConnection).code, 1000)


def extensions(agreement, server, client):
    return [] if agreement.plain else [PerMessageDeflate(**agreement.parameters(server, client))]


def as_client(agreement):
    port = PLAIN if agreement.plain else DEFLATE
    offer = extensions(agreement, agreement.dari, agreement.peer)
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        peer = Peer(connection, ConnectionType.CLIENT)
        peer.give(Request(host=f"127.0.0.1:{port}", target="/", extensions=offer))
        expect([extension.name for extension in peer.event(AcceptConnection).extensions], [] if agreement.plain else [NAME])
        if offer:
            agreed = {name: getattr(offer[0], name) for name in agreement.parameters(agreement.dari, agreement.peer)}
            # It always names both windows, and dari leaves the peer's to the peer.
            wanted = agreement.parameters(agreement.dari, agreement.peer)
            expect(agreed, {name: 15 if value is None else value for name, value in wanted.items()}, "agreed")
        exchange(peer, agreement)
        peer.close()


def as_server(agreement):
    answer = extensions(agreement, agreement.peer, agreement.dari)
    options = [] if agreement.plain else ["--deflate"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        with EchoClient(CLIENT, f"ws://127.0.0.1:{listener.getsockname()[1]}/", *options) as client, listener.accept()[0] as connection:
            peer = Peer(connection, ConnectionType.SERVER)
            expect(peer.event(Request).extensions, [] if agreement.plain else [agreement.offer()], "the offer was")
            peer.give(AcceptConnection(extensions=answer))
            expect(all(extension.enabled() for extension in answer), True, "enabled")
            exchange(peer, agreement)
            peer.close()
            connection.close()
            client.echoed(agreement)


ABLE = [agreement for agreement in AGREEMENTS if agreement.dari.compresses()]  # it refuses 8 bits, even for the others
report([
    *((f"as client: {agreement.name}", lambda a=agreement: as_client(a)) for agreement in ABLE),
    *((f"as server: {agreement.name}", lambda a=agreement: as_server(a)) for agreement in ABLE),
])
