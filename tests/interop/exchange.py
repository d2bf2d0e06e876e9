"""What the Python peers of `exchange` share: the agreements, dari's echo_client, and the messages that go to and fro.

An agreement (agreements.json) is what the two sides settle about permessage-deflate, in each direction: whether messages
refer to earlier ones, and the bits of the window. Whether it is kept shows on the wire.
"""
import json
import pathlib
import queue
import subprocess
import threading

from report import DEADLINE, SIZES, binary, expect, text

NAME = "permessage-deflate"
PIECES = ["첫째 ", "", "둘째 ", "셋째"]


class Direction:
    """What one side may do when it compresses."""

    def __init__(self, settings):
        self.takeover = settings.get("takeover", True)
        self.bits = settings.get("bits")

    def compresses(self):
        """dari has no window of 8 bits, and sends plain then."""
        return self.bits != 8


class Agreement:
    def __init__(self, row):
        self.name = row["name"]
        self.plain = row.get("plain", False)
        self.dari = Direction(row.get("dari", {}))
        self.peer = Direction(row.get("peer", {}))
        self.sizes = SIZES if row.get("large") else SIZES[:-1]

    def parameters(self, server, client):
        """As arguments, by the names of RFC 7692 7.1."""
        return {"server_no_context_takeover": not server.takeover, "client_no_context_takeover": not client.takeover,
                "server_max_window_bits": server.bits, "client_max_window_bits": client.bits}

    def answer(self):
        """What dari, as a server, answers to this as an offer."""
        words = [NAME]
        words += [] if self.dari.takeover else ["server_no_context_takeover"]
        words += [] if self.peer.takeover else ["client_no_context_takeover"]
        words += [] if self.dari.bits is None else [f"server_max_window_bits={self.dari.bits}"]
        return None if self.plain else "; ".join(words)

    def offer(self):
        """What dari, as a client, offers: whatever else a server may choose."""
        return None if self.plain else f"{NAME}; client_max_window_bits"


AGREEMENTS = [Agreement(row) for row in json.loads(pathlib.Path(__file__).with_name("agreements.json").read_text())]


def exchange(peer, agreement):
    """Sends messages of every size, and has them back.

    A peer has send, send_pieces and receive, and counts bytes on the wire: sent, received.
    """
    sent, received, total = peer.sent, peer.received, 0
    for size in agreement.sizes:
        for message in (text(size), binary(size)):
            peer.send(message)
            expect(peer.receive(), message, f"for {size} bytes")
            total += size
    keeps("the peer", agreement, agreement.peer, peer.sent - sent, total)
    keeps("dari", agreement, agreement.dari, peer.received - received, total)

    peer.send_pieces(PIECES)
    expect(peer.receive(), "".join(PIECES))

    noise = binary(200)
    for _ in range(2):  # the second time the first is near, in whatever window
        sent, received = peer.sent, peer.received
        peer.send(noise)
        expect(peer.receive(), noise)
    refers("the peer", agreement, agreement.peer, peer.sent - sent)
    refers("dari", agreement, agreement.dari, peer.received - received)


def keeps(who, agreement, direction, length, total):
    compressed = not agreement.plain and direction.compresses()
    if compressed != (length < 0.8 * total):
        raise AssertionError(f"{who} sent {length} bytes for {total}, which should {'' if compressed else 'not '}be compressed")


def refers(who, agreement, direction, length):
    takeover = not agreement.plain and direction.compresses() and direction.takeover
    if takeover != (length < 100):
        raise AssertionError(f"{who} sent {length} bytes for 200 that came before, with{'' if takeover else 'out'} takeover")


class EchoClient:
    """dari's echo_client, and its lines as they come. Used in a `with`."""

    def __init__(self, program, url, *options):
        self.process = subprocess.Popen([program, url, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.removesuffix("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def says(self, *starts):
        """The next lines: each has to start like this. The last one stays in `last`."""
        for start in starts:
            self.last = self.lines.get(timeout=DEADLINE)
            if not self.last.startswith(start):
                raise AssertionError(f"{self.last!r} instead of {start!r}")

    def ends(self, status):
        expect(self.process.wait(DEADLINE), status, "exit status")

    def echoed(self, agreement):
        """What it says from its beginning to its end, after an exchange that the peer closed with 1000."""
        self.says("open -")
        for size in agreement.sizes:
            self.says(f"message text {size}", f"message binary {size}")
        self.says(f"message text {len(''.join(PIECES).encode())}", "message binary 200", "message binary 200", "close 1000 clean PEER ")
        self.ends(0)
