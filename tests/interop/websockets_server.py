"""websockets_server.py CLIENT: dari's interactive client (examples-c/client.c) against a server of the Python package
`websockets`."""
import contextlib
import queue
import re
import signal
import subprocess
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from report import DEADLINE, binary, expect, report

PROGRAM = sys.argv[1]


class Client:
    """The program, its lines of output as they come."""

    def __init__(self, port):
        self.process = subprocess.Popen([PROGRAM, f"ws://127.0.0.1:{port}/"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="surrogateescape").removesuffix("\n"))

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def says(self):
        return self.lines.get(timeout=DEADLINE)

    def ends(self):
        """(exit status, what it told on stderr)."""
        told = self.process.stderr.read().decode()
        return self.process.wait(), told


@contextlib.contextmanager
def connected(**options):
    """(socket, client): both ends of one connection."""
    arrived, done = queue.Queue(), threading.Event()

    def handler(socket):
        arrived.put(socket)
        done.wait(DEADLINE)

    options = {"compression": None, "ping_interval": None, "max_size": None, **options}
    with serve(handler, "127.0.0.1", 0, **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(server.socket.getsockname()[1])
        try:
            yield arrived.get(timeout=DEADLINE), client
        finally:
            client.process.kill()
            client.process.wait()
            done.set()
            server.shutdown()


def lines():
    with connected() as (socket, client):
        for line in ["hello", "안녕하세요", "", "last"]:
            client.type(line)
            expect(socket.recv(), line)
            socket.send(f"{line}!")
            expect(client.says(), f"{line}!")


def sizes():
    with connected() as (socket, client):
        for size in [0, 1, 125, 126, 65535, 65536, 1 << 20]:
            socket.send("y" * size)
            expect(client.says(), "y" * size)
            socket.send(binary(size))
            expect(client.says(), f"({size} bytes of binary)")
        for size in [1, 125, 126, 65535]:
            client.type("z" * size)
            expect(socket.recv(), "z" * size)


def fragments():
    with connected() as (socket, client):
        socket.send(["조각", "", " 하나"])
        expect(client.says(), "조각 하나")


def pings():
    with connected() as (socket, _):
        for data in [b"p", b"x" * 125]:
            if not socket.ping(data).wait(5):
                raise AssertionError("no pong")


def controls():
    with connected() as (socket, client):
        socket.send("red \x1b[31m and \x9b31m")
        said = client.says()
        said.encode()  # raises where it is not UTF-8
        if "\x1b" in said or "\x9b" in said:
            raise AssertionError(f"control characters reach the terminal: {said!r}")


def closed_by_server(code):
    with connected() as (socket, client):
        socket.close(code, "끝")
        expect(socket.protocol.close_rcvd.code, code)
        status, told = client.ends()
        expect(status, 0)
        if not re.search(rf'close: {code} "끝"', told):
            raise AssertionError(told)


def end_of_input():
    with connected() as (socket, client):
        client.type("bye")
        client.process.stdin.close()
        expect(socket.recv(), "bye")
        closed_with(socket, 1000)
        expect(client.ends()[0], 0)


def interrupted():
    with connected() as (socket, client):
        socket.ping().wait(5)  # the client is at its loop once it has answered
        client.process.send_signal(signal.SIGINT)
        closed_with(socket, 1001)


def closed_with(socket, code):
    try:
        message = socket.recv()
    except ConnectionClosed as end:
        expect(end.rcvd and end.rcvd.code, code)
    else:
        raise AssertionError(f"got {message!r}")


report([
    ("lines are sent and messages shown, Korean too", lines),
    ("messages of all sizes, both ways", sizes),
    ("fragments are shown as one message", fragments),
    ("pings are answered", pings),
    ("control characters do not reach the terminal", controls),
    *((f"close {code} by the server is answered and told", lambda c=code: closed_by_server(c)) for code in (1000, 3000, 4999)),
    ("the end of the input closes with 1000", end_of_input),
    ("SIGINT closes with 1001", interrupted),
])
