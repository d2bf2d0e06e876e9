"""A raw connection: bytes as they are sent and received, HTTP responses and WebSocket frames read off them.

Deliberately able to send what no client should. Every wait has a deadline; nothing here judges what comes.
"""
import select
import socket
import struct
import time

from testee import Failure

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
DEADLINE = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Response:
    """One HTTP response: status, header lines in order, body."""

    def __init__(self, head, body=b""):
        line, *fields = head.decode("latin-1").split("\r\n")
        parts = line.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise Failure(f"not an HTTP response: {line!r}")
        self.line, self.status, self.body = line, int(parts[1]), body
        self.fields = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]

    def header(self, name):
        values = [value for key, value in self.fields if key == name.lower()]
        return values[0] if values else None


class Wire:
    """A TCP connection to a testee."""

    def __init__(self, port, source=None, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, deadline=DEADLINE):
        """Sends all of it, or stops silently when the peer has closed: what it said before that counts."""
        self.socket.settimeout(deadline)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_apart(self, data):
        """Every byte in a packet of its own."""
        for byte in data:
            self.send(bytes([byte]))

    def fill(self, deadline=DEADLINE):
        """Receives what there is. False at the end of the stream."""
        if self.ended:
            return False
        self.socket.settimeout(max(0.001, deadline))
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise Failure(f"nothing came within {deadline:.1f} s (after {self.buffer[:80]!r})") from None
        self.ended = not data
        self.buffer += data
        return bool(data)

    def read_exactly(self, count, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while len(self.buffer) < count:
            if not self.fill(end - time.monotonic()):
                raise Failure(f"the connection ended after {self.buffer[:80]!r}")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_until(self, mark, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while mark not in self.buffer:
            if not self.fill(end - time.monotonic()):
                raise Failure(f"the connection ended after {self.buffer[:80]!r}")
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def read_response(self, head_only=False, deadline=DEADLINE):
        response = Response(self.read_until(b"\r\n\r\n", deadline))
        if head_only or response.status in (101, 204, 304):
            return response
        if (response.header("transfer-encoding") or "").lower() == "chunked":
            while True:
                size = int(self.read_until(b"\r\n"), 16)
                response.body += self.read_exactly(size)
                self.read_exactly(2)
                if size == 0:
                    return response
        length = response.header("content-length")
        if length is not None:
            response.body = self.read_exactly(int(length))
        else:
            self.read_to_end()
            response.body, self.buffer = self.buffer, b""
        return response

    def read_frame(self, deadline=DEADLINE):
        """(fin, opcode, payload) of a frame from a server, which is never masked."""
        first, second = self.read_exactly(2, deadline)
        if second & 0x80:
            raise Failure("the server masked a frame (RFC 6455 5.1)")
        length = second & 0x7F
        if length >= 126:
            wide = length == 127
            length = int.from_bytes(self.read_exactly(8 if wide else 2, deadline), "big")
            if length < (65536 if wide else 126):
                raise Failure(f"length {length} is not in its shortest form (RFC 6455 5.2)")
        return bool(first & 0x80), first & 0x7F, self.read_exactly(length, deadline)

    def read_close(self, deadline=DEADLINE):
        """The code of the Close frame that has to come next; 1005 if it holds none."""
        _, opcode, payload = self.read_frame(deadline)
        if opcode != CLOSE:
            raise Failure(f"expected a Close frame, got opcode {opcode} with {payload[:40]!r}")
        return int.from_bytes(payload[:2], "big") if payload else 1005

    def read_to_end(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while self.fill(end - time.monotonic()):
            pass

    def ready(self, events, deadline):
        """The select.POLL* bits that are set within `deadline` seconds (select itself knows 1,024 descriptors only)."""
        poll = select.poll()
        poll.register(self.socket, events)
        return sum(bits for _, bits in poll.poll(deadline * 1000))


def request(port, *changes, target="/", method="GET", version="HTTP/1.1", extra=b""):
    """An upgrade request. Each change is (name, value): the value replaces the header's, None leaves it out."""
    fields = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
              "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}
    for name, value in changes:
        fields[name] = value
    lines = [f"{method} {target} {version}"] + [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + extra


def with_line(head, line):
    """The request with one more raw line before the blank one."""
    return head.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1)


def opened(testee, *changes, **options):
    """A WebSocket connection that has just been opened."""
    wire = Wire(testee.port)
    wire.send(request(testee.port, *changes, **options))
    response = wire.read_response()
    if response.status != 101 or response.header("sec-websocket-accept") != ACCEPT:
        raise Failure(f"not opened: {response.line} {response.body[:200]!r}")
    return wire


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", length=None):
    """A client's frame. `length` is (bits, number): another length than the payload's, in 7, 16 or 64 bits."""
    bits, number = length or ((7, len(payload)) if len(payload) < 126 else
                              (16, len(payload)) if len(payload) < 65536 else (64, len(payload)))
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    head = bytes([first, masked | number]) if bits == 7 else (
        struct.pack("!BBH", first, masked | 126, number) if bits == 16 else struct.pack("!BBQ", first, masked | 127, number))
    return head + (mask + xor(payload, mask) if mask else payload)


def xor(payload, mask):
    if not payload:
        return b""
    stream = (mask * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)
