"""Frames that break RFC 6455: each ends with its exact close code, at once, and then the connection.

`at once`: the offending bytes are the last ones sent, so a server that waits for more of the frame is found out.
"""
import threading

from testee import Failure
from wire import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame, opened

MAX_MESSAGE = 16 << 20
VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


def checks(echo):
    for name, code, data in [*bad_headers(), *bad_sequences(), *bad_texts(), *too_big(), *bad_closes()]:
        yield f"{name} is closed with {code}", lambda d=data, c=code: closed(echo, d, c)
    for code in VALID_CODES:
        yield f"close code {code} is answered with itself", lambda c=code: closed(echo, close_frame(c, "끝".encode()), c)
    yield "a close without a code is answered without one", lambda: closed(echo, close_frame(), 1005)
    yield "a close with a reason of 123 bytes is answered", lambda: closed(echo, close_frame(1000, b"r" * 123), 1000)
    yield "what comes behind a close is ignored", lambda: closed(echo, close_frame(1000) + frame(3) + frame(TEXT, b"late"), 1000)
    yield "what came before a violation is echoed first", lambda: before_violation(echo)
    yield "a continuation behind the last one is closed with 1002", lambda: behind_last(echo)
    yield "control frames between fragments are answered at once", lambda: between_fragments(echo)
    yield "ten pings are answered in order", lambda: pings(echo)
    yield "an unasked pong is ignored", lambda: unasked_pong(echo)
    yield "a mask of zeros is a mask", lambda: echoed(echo, frame(TEXT, b"zeros", mask=bytes(4)), b"zeros")
    yield "a text of 16 MiB is echoed whole", lambda: echoed(echo, frame(TEXT, b"x" * MAX_MESSAGE), b"x" * MAX_MESSAGE, 30)
    yield "a text byte by byte is echoed", lambda: apart(echo)
    yield "999 empty fragments are taken", lambda: echoed(
        echo, frame(TEXT, fin=False) + frame(0, fin=False) * 998 + frame(0, b"end"), b"end")


def bad_headers():
    yield "an unmasked text", 1002, frame(TEXT, b"bare", mask=None)
    yield "an unmasked ping", 1002, frame(PING, mask=None)
    yield "an unmasked close", 1002, frame(CLOSE, b"\x03\xe8", mask=None)
    for rsv in range(1, 8):
        yield f"reserved bits {rsv:03b}", 1002, frame(TEXT, b"x", rsv=rsv)
    yield "reserved bits on a ping", 1002, frame(PING, rsv=4)
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
        yield f"opcode {opcode}", 1002, frame(opcode)
        yield f"opcode {opcode}, its payload not sent", 1002, frame(opcode, length=(16, 1000))
    yield "a 64-bit length with the top bit", 1002, frame(BINARY, length=(64, 1 << 63))
    yield "a 64-bit length of all bits", 1002, frame(BINARY, length=(64, (1 << 64) - 1))
    yield "a 16-bit length of 125", 1002, frame(BINARY, b"x" * 125, length=(16, 125))
    yield "a 16-bit length of 0", 1002, frame(BINARY, length=(16, 0))
    yield "a 64-bit length of 65535", 1002, frame(BINARY, length=(64, 65535))
    yield "a 64-bit length of 0", 1002, frame(TEXT, length=(64, 0))
    yield "a ping of 126 bytes", 1002, frame(PING, length=(16, 126))
    yield "a pong of 65,536 bytes", 1002, frame(PONG, length=(64, 65536))
    yield "a ping in a 16-bit length", 1002, frame(PING, b"x" * 5, length=(16, 5))
    for opcode, name in [(PING, "ping"), (PONG, "pong"), (CLOSE, "close")]:
        yield f"a fragmented {name}", 1002, frame(opcode, fin=False)


def bad_sequences():
    yield "a continuation of nothing", 1002, frame(0, b"x")
    yield "an unfinished continuation of nothing", 1002, frame(0, b"x", fin=False)
    yield "a text inside a fragmented text", 1002, frame(TEXT, b"x", fin=False) + frame(TEXT, b"y")
    yield "a binary inside a fragmented text", 1002, frame(TEXT, b"x", fin=False) + frame(BINARY, b"y", fin=False)
    yield "more than 1,000 empty fragments", 1008, frame(TEXT, fin=False) + frame(0, fin=False) * 1100


def bad_texts():
    """RFC 6455 8.1. The payload is not sent to its end: the first bad byte has to be enough."""
    for name, data in [("a lone continuation byte", b"ok \x80"), ("an overlong slash", b"\xc0\xaf"), ("a surrogate", b"\xed\xa0\x80"),
                       ("a code point over U+10FFFF", b"\xf4\x90"), ("0xFF", b"\xff"), ("an overlong NUL of three bytes", b"\xe0\x80"),
                       ("a cut character and then ASCII", b"\xec\x95A")]:
        yield f"{name} in an unfinished frame", 1007, frame(TEXT, data, length=(16, 1000))
        yield f"{name} in an unfinished fragment", 1007, frame(TEXT, b"ok", fin=False) + frame(0, data, fin=False, length=(64, 70000))
    yield "a character cut by the end of the message", 1007, frame(TEXT, "안".encode()[:2])
    yield "a character cut by the end of the last fragment", 1007, frame(TEXT, b"\xec", fin=False) + frame(0, b"\x95")
    yield "a character cut by fragments and then another", 1007, frame(TEXT, b"\xec", fin=False) + frame(0, b"A", fin=False)
    yield "a bad byte far inside a large frame", 1007, frame(TEXT, b"a" * 100_000 + b"\xff", length=(64, 200_000))


def too_big():
    yield "a declared message over the limit", 1009, frame(BINARY, length=(64, MAX_MESSAGE + 1))
    yield "a declared message of 2^63 - 1 bytes", 1009, frame(BINARY, length=(64, (1 << 63) - 1))
    yield "a continuation that passes the limit", 1009, frame(BINARY, b"x", fin=False) + frame(0, length=(64, MAX_MESSAGE))
    yield "a continuation whose sum would wrap", 1009, frame(BINARY, b"x" * 10, fin=False) + frame(0, length=(64, (1 << 63) - 5))


def bad_closes():
    yield "a close of one byte", 1002, frame(CLOSE, b"\x03")
    yield "a close of 126 bytes", 1002, frame(CLOSE, b"\x03\xe8" + b"r" * 124)
    for code in INVALID_CODES:
        yield f"close code {code}", 1002, close_frame(code)
    yield "a close reason of bad UTF-8", 1007, close_frame(1000, b"ok \xff")
    yield "a close reason with a cut character", 1007, close_frame(1000, "끝".encode()[:2])


def closed(echo, data, code):
    with opened(echo) as wire:
        wire.send(data)
        got = wire.read_close()
        if got != code:
            raise Failure(f"closed with {got} instead of {code}")
        wire.read_to_end()
        if wire.buffer:
            raise Failure(f"bytes behind the Close: {wire.buffer[:80]!r}")


def before_violation(echo):
    with opened(echo) as wire:
        wire.send(frame(TEXT, "먼저".encode()) + frame(PING, b"p") + frame(TEXT, b"x", rsv=1))
        got = [wire.read_frame(), wire.read_frame()]
        if got != [(True, TEXT, "먼저".encode()), (True, PONG, b"p")]:
            raise Failure(f"got {got}")
        if (code := wire.read_close()) != 1002:
            raise Failure(f"closed with {code}")


def behind_last(echo):
    with opened(echo) as wire:
        wire.send(frame(TEXT, b"a", fin=False) + frame(0, b"b") + frame(0, b"c"))
        if (got := wire.read_frame()) != (True, TEXT, b"ab"):
            raise Failure(f"got {got}")
        if (code := wire.read_close()) != 1002:
            raise Failure(f"closed with {code}")


def between_fragments(echo):
    with opened(echo) as wire:
        wire.send(frame(TEXT, "안녕".encode()[:4], fin=False) + frame(PING, b"between"))
        if wire.read_frame() != (True, PONG, b"between"):
            raise Failure("no pong before the message is whole")
        wire.send(frame(0, fin=False) + frame(0, "안녕".encode()[4:]))
        if (got := wire.read_frame()) != (True, TEXT, "안녕".encode()):
            raise Failure(f"got {got}")


def pings(echo):
    with opened(echo) as wire:
        wire.send(b"".join(frame(PING, b"%d" % number) for number in range(10)))
        got = [wire.read_frame() for _ in range(10)]
        if got != [(True, PONG, b"%d" % number) for number in range(10)]:
            raise Failure(f"got {got}")


def unasked_pong(echo):
    with opened(echo) as wire:
        wire.send(frame(PONG, b"nobody asked") + frame(TEXT, b"still there"))
        if (got := wire.read_frame()) != (True, TEXT, b"still there"):
            raise Failure(f"got {got}")


def apart(echo):
    with opened(echo) as wire:
        text = "한 바이트씩, one byte at a time".encode()
        wire.send_apart(frame(TEXT, text[:20], fin=False) + frame(PING, b"p") + frame(0, text[20:]))
        if [wire.read_frame(), wire.read_frame()] != [(True, PONG, b"p"), (True, TEXT, text)]:
            raise Failure("no pong, or no echo")


def echoed(echo, data, payload, deadline=5):
    """Sends while reading: a message of the size of the limit does not fit into the sockets' buffers."""
    with opened(echo) as wire:
        sender = threading.Thread(target=wire.send, args=(data, deadline))
        sender.start()
        try:
            got = b""
            fin = False
            while not fin:
                fin, opcode, piece = wire.read_frame(deadline)
                if opcode not in (0, TEXT):
                    raise Failure(f"opcode {opcode}: {piece[:40]!r}")
                got += piece
            if got != payload:
                raise Failure(f"the echo has {len(got)} bytes instead of {len(payload)}, or others")
        finally:
            sender.join(deadline)
