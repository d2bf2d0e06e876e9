"""websockets_exchange.py PLAIN DEFLATE CLIENT: messages of every size between the Python package `websockets` and dari,
each as client and as server, plain and under every agreement on compression. PLAIN and DEFLATE are ports of echo
servers, CLIENT is the program echo_client."""
import contextlib
import queue
import sys
import threading

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.sync.server import serve

from exchange import AGREEMENTS, NAME, EchoClient, exchange
from report import DEADLINE, expect, report

PLAIN, DEFLATE, CLIENT = sys.argv[1:]
HEADER = "Sec-WebSocket-Extensions"
OPTIONS = {"compression": None, "max_size": None, "ping_interval": None}


class Peer:
    """A connection of the package, whose bytes are counted from here on."""

    def __init__(self, socket):
        self.socket = socket
        self.sent = self.received = 0
        protocol = socket.protocol
        take, give = protocol.receive_data, protocol.data_to_send

        def receive_data(data):
            self.received += len(data)
            take(data)

        def data_to_send():
            pieces = give()
            self.sent += sum(map(len, pieces))
            return pieces

        protocol.receive_data, protocol.data_to_send = receive_data, data_to_send

    def send(self, message):
        self.socket.send(message)

    send_pieces = send

    def receive(self):
        return self.socket.recv()


def extensions(agreement, factory, server, client):
    if agreement.plain:
        return None
    parameters = agreement.parameters(server, client)
    if factory is ClientPerMessageDeflateFactory and client.bits is None:
        parameters["client_max_window_bits"] = True  # understood, whatever the server says
    return [factory(**parameters)]


def as_client(agreement):
    """dari has no word in the peer's window: the peer keeps to what it said."""
    offer = extensions(agreement, ClientPerMessageDeflateFactory, agreement.dari, agreement.peer)
    with connect(f"ws://127.0.0.1:{PLAIN if agreement.plain else DEFLATE}/", proxy=None, extensions=offer, legacy=True, **OPTIONS) as socket:
        expect(socket.response.headers.get(HEADER), agreement.answer(), "the answer was")
        expect([extension.name for extension in socket.protocol.extensions], [] if agreement.plain else [NAME])
        exchange(Peer(socket), agreement)


def as_server(agreement):
    arrived, done = queue.Queue(), threading.Event()

    def handler(socket):
        arrived.put(socket)
        done.wait(DEADLINE)
        socket.close()

    # The sides change places: what dari may do is the client's part.
    answer = extensions(agreement, ServerPerMessageDeflateFactory, agreement.peer, agreement.dari)
    options = [] if agreement.plain else ["--deflate"]
    with serve(handler, "127.0.0.1", 0, extensions=answer, **OPTIONS) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        client = stack.enter_context(EchoClient(CLIENT, f"ws://127.0.0.1:{server.socket.getsockname()[1]}/", *options))
        stack.callback(done.set)
        socket = arrived.get(timeout=DEADLINE)
        expect(socket.request.headers.get(HEADER), agreement.offer(), "the offer was")
        expect([extension.name for extension in socket.protocol.extensions], [] if agreement.plain else [NAME])
        exchange(Peer(socket), agreement)
        done.set()
        client.echoed(agreement)


report([
    *((f"as client: {agreement.name}", lambda a=agreement: as_client(a)) for agreement in AGREEMENTS),
    *((f"as server: {agreement.name}", lambda a=agreement: as_server(a)) for agreement in AGREEMENTS),
])
