"""Opening handshakes: what is let in, and what gets which refusal (RFC 6455 4.2, RFC 9110, RFC 9112).

Every refusal is one response with a reason, and then the end of the connection. Nothing here reads a page.
"""
import base64

from testee import Failure
from wire import ACCEPT, KEY, PING, PONG, TEXT, Wire, close_frame, frame, request, with_line


def checks(echo):
    port = echo.port
    plain = request(port)

    yield from accepted(port, plain)
    for name, statuses, head in [*bad_syntax(port, plain), *bad_handshakes(port, plain), *too_much(port, plain),
                                 *bodies(port, plain)]:
        yield f"{name} is refused with {' or '.join(map(str, statuses))}", lambda h=head, s=statuses: refused(port, h, s)

    for name, changes in hostile_lists():
        yield f"{name} is answered in a moment", lambda c=changes: answered_soon(echo, request(port, *c))
    yield "a head of 15 KiB byte by byte costs little CPU", lambda: little_by_little(echo, plain)
    yield "a missing Host is told in the body", lambda: tells_of_host(port)
    yield "a wrong version is told the right one", lambda: tells_version(port)
    yield "a handshake byte by byte opens", lambda: in_pieces(port, plain)
    yield "frames in the packet of the handshake are answered after the 101", lambda: at_once(port, plain)
    yield "frames in the packet of the handshake, the last one cut, are all answered", lambda: cut_behind(port, plain)
    yield "a request behind the upgrade is read as frames: 1002", lambda: pipelined_upgrade(port, plain)


def accepted(port, plain):
    token = "a token in another case"
    for name, changes in [
        ("a plain request", ()),
        (f"{token}: Upgrade", [("Upgrade", "WebSocket")]),
        (f"{token}: UPGRADE", [("Upgrade", "WEBSOCKET"), ("Connection", "UPGRADE")]),
        ("Connection: keep-alive, Upgrade", [("Connection", "keep-alive, Upgrade")]),
        ("Connection with empty list members", [("Connection", " , ,upgrade, ")]),
        ("Upgrade with another protocol before it", [("Upgrade", "h2c, websocket")]),
        ("a header of blanks only", [("X-Empty", "  \t ")]),
        ("an unknown extension", [("Sec-WebSocket-Extensions", "constructor, __proto__; x=1")]),
        ("a quoted extension parameter", [("Sec-WebSocket-Extensions", 'x; y="a\\"b,c"')]),
        ("a foreign origin on a server that lets every origin in", [("Origin", "http://elsewhere.example")]),
        ("a Host of IPv6", [("Host", "[::1]:80")]),
    ]:
        yield f"{name} opens", lambda c=changes: opens(port, request(port, *c))
    lower = plain.lower().replace(b"get / http", b"GET / HTTP").replace(KEY.lower().encode(), KEY.encode())
    yield "header names in lower case open", lambda: opens(port, lower)
    yield "Connection in two lines opens", lambda: opens(port, with_line(request(port, ("Connection", "keep-alive")), b"Connection: upgrade"))
    yield "no blank behind the colons opens", lambda: opens(port, plain.replace(b": ", b":"))
    yield "an empty line before the request opens (RFC 9112 2.2)", lambda: opens(port, b"\r\n" + plain)
    yield "an absolute-form target opens (RFC 9112 3.2.2)", lambda: opens(port, request(port, target=f"http://127.0.0.1:{port}/"))
    yield "a target with a query opens", lambda: opens(port, request(port, target="/a/b?c=%20&d=/.."))


def bad_syntax(port, plain):
    """RFC 9112 2.2, 5: what other parsers have taken, and what others made of it."""
    host = b"Host: 127.0.0.1:%d" % port
    bad = [400]
    yield "obs-fold", bad, with_line(plain, b"X-Folded: a\r\n b")
    yield "obs-fold of the key", bad, plain.replace(b"Key: ", b"Key:\r\n ")
    yield "a bare LF behind a header", bad, plain.replace(host + b"\r\n", host + b"\n")
    yield "bare LF everywhere", bad, plain.replace(b"\r\n", b"\n")
    yield "a bare LF as the blank line", bad, plain[:-4] + b"\r\n\n"
    yield "a bare CR in a value", bad, with_line(plain, b"X-A: a\rb")
    yield "NUL in a value", bad, with_line(plain, b"X-A: a\0b")
    yield "NUL in a name", bad, with_line(plain, b"X\0A: a")
    yield "NUL in the target", bad, request(port, target="/\0")
    yield "a control character in a value", bad, with_line(plain, b"X-A: a\x01b")
    yield "DEL in a value", bad, with_line(plain, b"X-A: a\x7fb")
    yield "a blank before the colon", bad, with_line(plain, b"X-A : a")
    yield "a line without a colon", bad, with_line(plain, b"X-A")
    yield "an empty name", bad, with_line(plain, b": a")
    yield "a name that is not ASCII", bad, with_line(plain, "X-é: a".encode())
    yield "a blank before the first header", bad, plain.replace(b"\r\nHost", b"\r\n Host", 1)
    yield "two blanks in the request line", bad, plain.replace(b"GET / ", b"GET  / ")
    yield "a tab in the request line", bad, plain.replace(b"GET / ", b"GET\t/ ")
    yield "a blank behind the version", bad, plain.replace(b"HTTP/1.1", b"HTTP/1.1 ")
    yield "no target", bad, plain.replace(b"GET / ", b"GET ")
    yield "no version", bad, plain.replace(b" HTTP/1.1", b"")
    yield "a target without a slash", bad, request(port, target="index.html")
    yield "a target with a fragment", bad, request(port, target="/#here")
    yield "an asterisk as target of GET", bad, request(port, target="*")
    yield "a lower-case version", [400, 505], plain.replace(b"HTTP/1.1", b"http/1.1")
    yield "a version of another major number", [400, 505], plain.replace(b"HTTP/1.1", b"HTTP/2.0")
    yield "a method in lower case", [400, 405, 501], request(port, method="get")
    yield "a method with a forbidden character", bad, request(port, method="G@T")
    yield "the preface of HTTP/2", [400, 505], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "a TLS greeting", bad, bytes.fromhex("16030100c2010000be0303") + bytes(range(200))


def bad_handshakes(port, plain):
    """RFC 6455 4.2.1."""
    bad = [400]
    key = f"Sec-WebSocket-Key: {KEY}".encode()
    yield "a second Sec-WebSocket-Key", bad, with_line(plain, key)
    yield "a second, different Sec-WebSocket-Key", bad, with_line(plain, b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    yield "a second Sec-WebSocket-Version", bad, with_line(plain, b"Sec-WebSocket-Version: 13")
    yield "a second Host", bad, with_line(plain, b"Host: elsewhere.example")
    yield "the same Host twice", bad, with_line(plain, b"Host: 127.0.0.1:%d" % port)
    yield "no Host", bad, request(port, ("Host", None))
    yield "a Host with a blank", bad, request(port, ("Host", "a b"))
    yield "a Host with a path", bad, request(port, ("Host", "a/b"))
    yield "a Host with user information", bad, request(port, ("Host", "a@b"))
    yield "no key", bad, request(port, ("Sec-WebSocket-Key", None))
    for name, value in [("of 15 bytes", base64.b64encode(bytes(15)).decode()), ("of 17 bytes", base64.b64encode(bytes(17)).decode()),
                        ("that is empty", ""), ("without padding", KEY.rstrip("=")), ("with a blank inside", KEY[:8] + " " + KEY[8:]),
                        ("in the other base64 alphabet", "_-" + KEY[2:]),
                        ("of 24 other characters", "!" * 24), ("with a comma", KEY + ", " + KEY)]:
        yield f"a key {name}", bad, request(port, ("Sec-WebSocket-Key", value))
    yield "no version", [400, 426], request(port, ("Sec-WebSocket-Version", None))
    for version in ["0", "8", "12", "14", "130", "255"]:
        yield f"version {version}", [426], request(port, ("Sec-WebSocket-Version", version))
    for version in ["013", "13.0", "13, 8", "x", ""]:
        yield f"version {version!r}", [400, 426], request(port, ("Sec-WebSocket-Version", version))
    yield "an upgrade by POST", [400, 405], request(port, method="POST")
    yield "an upgrade by HTTP/1.0", [400, 426, 505], request(port, version="HTTP/1.0")
    last = ("Connection", "Upgrade, close")  # to this server these are plain requests: without it they are kept alive
    yield "an Upgrade to something else", [400, 426], request(port, ("Upgrade", "h2c"), last)
    yield "an Upgrade that only begins like it", [400, 426], request(port, ("Upgrade", "websockets"), last)
    yield "no Upgrade in Connection", [400, 426], request(port, ("Connection", "keep-alive"))
    yield "no Connection", [400, 426], request(port, ("Connection", None))
    yield "a plain GET without an upgrade", [426], request(port, ("Connection", "close"), ("Upgrade", None),
                                                           ("Sec-WebSocket-Key", None), ("Sec-WebSocket-Version", None))


def too_much(port, plain):
    """The head: 16 KiB, 100 headers, a target of 8 KiB."""
    many = b"".join(b"X-%d: a\r\n" % number for number in range(10_000))
    yield "a head of 10,000 headers", [431], plain[:-2] + many + b"\r\n"
    yield "a head of 101 headers", [431], plain[:-2] + b"".join(b"X-%d: a\r\n" % n for n in range(96)) + b"\r\n"
    yield "a header of 1 MiB", [431], with_line(plain, b"X-A: " + b"a" * (1 << 20))
    yield "a header name of 1 MiB", [431], with_line(plain, b"X" * (1 << 20) + b": a")
    yield "a head of 17 KiB", [431], with_line(plain, b"X-A: " + b"a" * (17 << 10))
    yield "a head without an end", [431], plain[:-2] + b"X-A: " + b"a" * (1 << 20)
    yield "a target of 9 KiB", [414], request(port, target="/" + "a" * (9 << 10))
    yield "a target of 1 MiB", [414, 431], request(port, target="/" + "a" * (1 << 20))
    yield "a target without an end", [414, 431], b"GET /" + b"a" * (1 << 20)
    yield "a method without an end", [400, 414, 431, 501], b"G" * (1 << 20)
    yield "empty lines without an end", [400, 431], b"\r\n" * 100_000


def bodies(port, plain):
    """RFC 9112 6: what a body's length may look like. Two readings of it are how requests are smuggled."""
    bad = [400]
    post = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n" % port
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "Content-Length and Transfer-Encoding together", bad, post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield "two different Content-Lengths", bad, post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
    for value in [b"-1", b"+5", b"5 5", b"0x5", b"5,6", b"", b"18446744073709551621", b"5;", b"\xb2"]:
        yield f"Content-Length {value!r}", [400, 413], post + b"Content-Length: " + value + b"\r\n\r\nhello"
    yield "a body over the limit, told before", [413], post + b"Content-Length: %d\r\n\r\n" % ((1 << 20) + 1)
    yield "a chunked body over the limit", [413], chunked + b"%x\r\n" % ((1 << 20) + 1)
    yield "chunks over the limit together", [413], chunked + (b"40000\r\n" + b"a" * 0x40000 + b"\r\n") * 5
    for coding in [b"xchunked", b"chunked, identity", b"gzip", b"chunked, chunked", b"\x0bchunked"]:
        yield f"Transfer-Encoding {coding!r}", [400, 501], post + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
    yield "Transfer-Encoding in HTTP/1.0", [400, 501], chunked.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n"
    for size in [b"g", b"", b"-1", b"0x1", b"1 ", b"fffffffffffffffff", b"8000000000000000", b"\n"]:
        yield f"chunk size {size!r}", [400, 413], chunked + size + b"\r\na\r\n0\r\n\r\n"
    yield "a chunk without CRLF behind it", bad, chunked + b"1\r\nab\r\n0\r\n\r\n"
    yield "a chunk size that ends with a bare LF", bad, chunked + b"1\na\r\n0\r\n\r\n"
    yield "chunk extensions without an end", [400, 413, 431], chunked + b"1;" + b"a" * (1 << 20)
    yield "trailers without an end", [400, 413, 431], chunked + b"0\r\n" + b"X-A: a\r\n" * 100_000
    yield "an upgrade with a body", bad, with_line(plain, b"Content-Length: 5") + b"hello"
    yield "an upgrade with a chunked body", bad, with_line(plain, b"Transfer-Encoding: chunked") + b"0\r\n\r\n"


def hostile_lists():
    """What has cost other parsers quadratic or exponential time, or their process (RFC 6455 4.1, 9.1)."""
    extensions, protocols = "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"
    yield "a protocol list of blanks", [(protocols, "a" + " " * 15_000 + "b")]
    yield "a protocol list of commas", [(protocols, "," * 15_000)]
    yield "a protocol list of 5,000 names", [(protocols, ",".join(["ab"] * 5_000))]
    yield "a protocol that is not ASCII", [(protocols, "h\xe9llo")]
    yield "a protocol with forbidden characters", [(protocols, 'a"b(c)')]
    yield "an unclosed quoted string of backslashes", [(extensions, 'x; y="' + "\\" * 15_000)]
    yield "a quoted string of escapes", [(extensions, 'x; y="' + '\\"' * 7_000 + '"')]
    yield "an extension list of semicolons", [(extensions, "x" + ";" * 15_000)]
    yield "800 offers of permessage-deflate", [(extensions, ",".join(["permessage-deflate"] * 800))]
    yield "an Upgrade list of blanks and commas", [("Upgrade", ", " * 7_000 + "websocket")]
    yield "a Connection list of blanks and commas", [("Connection", ", " * 7_000 + "upgrade")]


def answered_soon(echo, head):
    """Taken or refused, but answered, and for little CPU."""
    before = echo.cpu()
    with Wire(echo.port) as wire:
        wire.send(head)
        response = wire.read_response(deadline=1)
        if response.status not in (101, 400):
            raise Failure(response.line)
    if (cost := echo.cpu() - before) > 0.1:
        raise Failure(f"cost {cost:.2f} s of CPU")


def little_by_little(echo, plain):
    """A parser that begins again with each byte needs 15,000 times 7 KiB."""
    before = echo.cpu()
    with Wire(echo.port) as wire:
        wire.send_apart(with_line(plain, b"X-A: " + b"a" * 15_000))
        if (response := wire.read_response()).status != 101:
            raise Failure(response.line)
    if (cost := echo.cpu() - before) > 1:
        raise Failure(f"cost {cost:.2f} s of CPU")


def opens(port, head):
    with Wire(port) as wire:
        wire.send(head)
        response = wire.read_response()
        if response.status != 101:
            raise Failure(f"{response.line} {response.body[:200]!r} instead of 101")
        for name, value in [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", ACCEPT)]:
            if (response.header(name) or "").lower() != value.lower():
                raise Failure(f"{name} is {response.header(name)!r} instead of {value!r}")
        for name in ("sec-websocket-extensions", "sec-websocket-protocol", "content-length", "transfer-encoding"):
            if response.header(name) is not None:
                raise Failure(f"the 101 has {name}: {response.header(name)!r}")
        echoes(wire)


def echoes(wire, text=b"hello"):
    wire.send(frame(TEXT, text))
    got = wire.read_frame()
    if got != (True, TEXT, text):
        raise Failure(f"echo of {text!r} is {got!r}")


def refused(port, head, statuses):
    with Wire(port) as wire:
        wire.send(head)
        response = wire.read_response()
        if response.status not in statuses:
            raise Failure(f"{response.line} instead of {' or '.join(map(str, statuses))}: {head[:200]!r}")
        if response.status == 426 and response.header("sec-websocket-version") not in (None, "13"):
            raise Failure(f"426 with Sec-WebSocket-Version {response.header('sec-websocket-version')!r}")
        wire.read_to_end()
        if wire.buffer:
            raise Failure(f"bytes behind the refusal: {wire.buffer[:80]!r}")


def tells_of_host(port):
    with Wire(port) as wire:
        wire.send(request(port, ("Host", None)))
        response = wire.read_response()
        if response.status != 400 or b"host" not in response.body.lower():
            raise Failure(f"{response.line}: {response.body!r} does not speak of Host")


def tells_version(port):
    with Wire(port) as wire:
        wire.send(request(port, ("Sec-WebSocket-Version", "8")))
        response = wire.read_response()
        if (response.status, response.header("sec-websocket-version")) != (426, "13"):
            raise Failure(f"{response.line} with Sec-WebSocket-Version {response.header('sec-websocket-version')!r}")


def in_pieces(port, plain):
    with Wire(port) as wire:
        wire.send_apart(plain)
        if wire.read_response().status != 101:
            raise Failure("not opened")
        wire.send_apart(frame(TEXT, b"in pieces"))
        if wire.read_frame() != (True, TEXT, b"in pieces"):
            raise Failure("no echo")


def at_once(port, plain):
    with Wire(port) as wire:
        wire.send(plain + frame(PING, b"early") + frame(TEXT, b"one") + frame(TEXT, b"two") + close_frame(1000))
        if wire.read_response().status != 101:
            raise Failure("not opened")
        got = [wire.read_frame() for _ in range(3)]
        if got != [(True, PONG, b"early"), (True, TEXT, b"one"), (True, TEXT, b"two")]:
            raise Failure(f"got {got}")
        if wire.read_close() != 1000:
            raise Failure("no Close 1000")
        wire.read_to_end()


def cut_behind(port, plain):
    with Wire(port) as wire:
        last = frame(TEXT, b"cut in two")
        wire.send(plain + frame(TEXT, b"whole") + last[:7])
        if wire.read_response().status != 101 or wire.read_frame() != (True, TEXT, b"whole"):
            raise Failure("no echo of the whole frame")
        wire.send(last[7:])
        if wire.read_frame() != (True, TEXT, b"cut in two"):
            raise Failure("no echo of the cut frame")


def pipelined_upgrade(port, plain):
    with Wire(port) as wire:
        wire.send(plain + plain)
        if wire.read_response().status != 101:
            raise Failure("not opened")
        if (code := wire.read_close()) != 1002:
            raise Failure(f"closed with {code}")
        wire.read_to_end()
