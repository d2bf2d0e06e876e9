"""The chat's folder over HTTP, and who may open a WebSocket next to it: escapes, methods, caching, origins.

The folder is one that is made here, with a secret beside it that must never be served.
"""
import contextlib
import os
import pathlib
import tempfile

from testee import Failure
from wire import TEXT, Wire, request

SECRET = b"the secret beside the folder"
PAGE = "<!doctype html><title>방</title>\n".encode()
LARGE = bytes(range(256)) * (5 << 12)  # 5 MiB

# Each tries to reach the secret, or a file by another name than its own.
ESCAPES = ["/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt", "/.%2e/secret.txt",
           "/sub/../../secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "//../secret.txt", "/./../secret.txt",
           "/..\\secret.txt", "/%5c..%5csecret.txt", "/..%5csecret.txt", "/\\..\\secret.txt", "/....//secret.txt",
           "/%252e%252e/secret.txt", "/%c0%ae%c0%ae/secret.txt", "/%c0%ae%c0%ae%c0%afsecret.txt", "/..%00/secret.txt",
           "/../folder-of-the-page-2/secret.txt", "/link/secret.txt", "/link.txt", "/sub/link.txt"]
ODD = ["/index.html%00", "/index.html%00.txt", "/%00", "/%", "/%zz", "/%2", "/index.html/", "/index.html/x", "/index.html%2f",
       "/%ff", "/fifo", "/.hidden", "/" + "a/" * 3000, "/" + "../" * 2000 + "etc/passwd", "/etc/passwd", "//etc/passwd",
       "/index.html.", "/INDEX.HTML", "/nosuch", "/sub/nosuch", "/con", "/sub%00/"]


@contextlib.contextmanager
def folder():
    """A folder to serve, and what it must not serve beside it."""
    with tempfile.TemporaryDirectory() as name:
        base = pathlib.Path(name).resolve()
        page = base / "page"
        (page / "sub").mkdir(parents=True)
        (base / "secret.txt").write_bytes(SECRET)
        (page / "index.html").write_bytes(PAGE)
        (page / "style.css").write_text("body { color: black }\n")
        (page / "script.js").write_text("'use strict'\n")
        (page / "한글.txt").write_text("안녕\n")
        (page / "with blank.txt").write_text("blank\n")
        (page / "empty.txt").write_bytes(b"")
        (page / "large.bin").write_bytes(LARGE)
        (page / "sub" / "index.html").write_text("sub\n")
        (page / ".hidden").write_bytes(SECRET)
        (page / "link.txt").symlink_to(base / "secret.txt")
        (page / "sub" / "link.txt").symlink_to("../../secret.txt")
        (page / "link").symlink_to(base)
        os.mkfifo(page / "fifo")
        yield page


def checks(chat):
    port = chat.port
    yield "the page is served with its type and length", lambda: page(port)
    yield "HEAD is GET without the body", lambda: head(port)
    yield "types and names: CSS, JavaScript, a name in Korean, one with a blank", lambda: types(port)
    yield "an empty file is served", lambda: serves(port, "/empty.txt", b"")
    yield "a file of 5 MiB is served whole", lambda: serves(port, "/large.bin", LARGE)
    yield "a query does not change the file", lambda: serves(port, "/index.html?x=/../..", PAGE)
    yield "an absolute-form target is served", lambda: serves(port, f"http://127.0.0.1:{port}/index.html", PAGE)
    for path in ESCAPES + ODD:
        shown = path if len(path) < 50 else path[:40] + "..."
        yield f"{shown!r} reaches nothing", lambda p=path: reaches_nothing(port, p)
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]:
        yield f"{method} of a page is 405 and says what is allowed", lambda m=method: method_refused(port, m)
    yield "CONNECT is refused", lambda: connect_refused(port)
    yield "an unchanged page is 304", lambda: not_modified(port)
    yield "another ETag gets the page", lambda: serves(port, "/", PAGE, "If-None-Match: \"other\"")
    yield "two requests in one packet get two answers in order", lambda: two_requests(port)
    yield "a hundred requests in one packet get a hundred answers", lambda: many_requests(port)
    yield "a request behind a large file is answered", lambda: behind_large(port)
    yield "Connection: close is obeyed", lambda: obeys_close(port)
    yield "HTTP/1.0 is answered and closed", lambda: version_one_zero(port)
    yield "a page and then its WebSocket on one connection", lambda: page_then_socket(port)
    yield "a body on GET is read away, not taken for a request", lambda: body_is_no_request(port)
    yield "a reader who goes in the middle of a file harms nobody", lambda: goes_away(port)

    own = f"http://127.0.0.1:{port}"
    yield "no Origin opens", lambda: origin(port, 101)
    yield "the page's own origin opens", lambda: origin(port, 101, own)
    for name, value in [("a foreign", "http://elsewhere.example"), ("the null", "null"), ("an empty", ""),
                        ("another port's", f"http://127.0.0.1:{port + 1}"), ("a portless", "http://127.0.0.1"),
                        ("a longer-named", f"http://127.0.0.1.elsewhere.example:{port}"), ("another name's", f"http://localhost:{port}"),
                        ("a user's", f"http://127.0.0.1:{port}@elsewhere.example"), ("a prefixed", f"x{own}"),
                        ("a doubled", f"{own} http://elsewhere.example"), ("a listed", f"{own}, {own}"), ("a file's", "file://")]:
        yield f"{name} origin is refused with 403", lambda v=value: origin(port, 403, v)
    yield "a second Origin is refused", lambda: two_origins(port, own)
    yield "a foreign page may still be told nothing but the page", lambda: serves(port, "/", PAGE, "Origin: http://elsewhere.example")


def ask(port, target="/", *lines, method="GET", version="HTTP/1.1"):
    head = [f"{method} {target} {version}", f"Host: 127.0.0.1:{port}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n"


def answer(port, data, head_only=False):
    with Wire(port) as wire:
        wire.send(data)
        return wire.read_response(head_only)


def expect(response, status):
    if response.status != status:
        raise Failure(f"{response.line} instead of {status}")
    return response


def page(port):
    response = expect(answer(port, ask(port)), 200)
    kind = (response.header("content-type") or "").replace(" ", "").lower()
    if response.body != PAGE or kind != "text/html;charset=utf-8" or response.header("content-length") != str(len(PAGE)):
        raise Failure(f"{kind}, {response.header('content-length')}, {response.body!r}")
    if not (response.header("etag") or response.header("last-modified")):
        raise Failure("neither ETag nor Last-Modified")
    if (response.header("x-content-type-options") or "nosniff") != "nosniff":
        raise Failure("X-Content-Type-Options is not nosniff")


def head(port):
    with Wire(port) as wire:
        wire.send(ask(port, method="HEAD") + ask(port, "/style.css", "Connection: close"))
        first = expect(wire.read_response(head_only=True), 200)
        if first.header("content-length") != str(len(PAGE)):
            raise Failure(f"Content-Length {first.header('content-length')}")
        expect(wire.read_response(), 200)  # not where a body would be
    with Wire(port) as wire:
        wire.send(ask(port, "/nosuch", "Connection: close", method="HEAD"))
        expect(wire.read_response(head_only=True), 404)
        wire.read_to_end()
        if wire.buffer:
            raise Failure(f"a body: {wire.buffer[:80]!r}")


def types(port):
    for target, start in [("/style.css", "text/css"), ("/script.js", "text/javascript"), ("/%ED%95%9C%EA%B8%80.txt", "text/plain"),
                          ("/with%20blank.txt", "text/plain"), ("/large.bin", "application/octet-stream")]:
        kind = expect(answer(port, ask(port, target)), 200).header("content-type") or ""
        if not kind.lower().startswith(start):
            raise Failure(f"{target} is {kind!r}")


def serves(port, target, body, *lines):
    response = expect(answer(port, ask(port, target, *lines)), 200)
    if response.body != body:
        raise Failure(f"{len(response.body)} bytes instead of {len(body)}, or others")


def reaches_nothing(port, path):
    with Wire(port) as wire:
        wire.send(ask(port, path, "Connection: close"))
        response = wire.read_response()
    if SECRET in response.body or b"root:" in response.body:
        raise Failure(f"served what it must not: {response.body[:60]!r}")
    if response.status not in (400, 403, 404, 414, 431) and not (response.status in (301, 308) and path.endswith("/")):
        raise Failure(f"{response.line} instead of 404 or 400")


def method_refused(port, method):
    response = expect(answer(port, ask(port, "/", method=method)), 405)
    allowed = {token.strip() for token in (response.header("allow") or "").split(",")}
    if not {"GET", "HEAD"} <= allowed:
        raise Failure(f"Allow is {response.header('allow')!r} (RFC 9110 15.5.6)")


def connect_refused(port):
    response = answer(port, b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n")
    if response.status not in (400, 405, 501):
        raise Failure(response.line)


def not_modified(port):
    first = expect(answer(port, ask(port)), 200)
    for field, condition in [("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")]:
        if (value := first.header(field)) is None:
            continue
        for line in [f"{condition}: {value}"] + ([f'{condition}: "other", {value}', f"{condition}: *"] if field == "etag" else []):
            with Wire(port) as wire:
                wire.send(ask(port, "/", line) + ask(port, "/style.css"))
                response = expect(wire.read_response(), 304)
                if field == "etag" and response.header("etag") != value:
                    raise Failure(f"the 304 has ETag {response.header('etag')} (RFC 9110 15.4.5)")
                expect(wire.read_response(), 200)  # a 304 has no body that could be taken for this


def two_requests(port):
    with Wire(port) as wire:
        wire.send(ask(port, "/") + ask(port, "/style.css"))
        one, two = wire.read_response(), wire.read_response()
        if one.body != PAGE or b"color" not in two.body:
            raise Failure(f"{one.body!r}, {two.body!r}")


def many_requests(port):
    with Wire(port) as wire:
        wire.send(b"".join(ask(port, "/style.css" if number % 2 else "/") for number in range(100)))
        for number in range(100):
            if (b"color" in wire.read_response().body) != bool(number % 2):
                raise Failure(f"answer {number} is another's")


def behind_large(port):
    with Wire(port) as wire:
        wire.send(ask(port, "/large.bin") + ask(port, "/"))
        if wire.read_response().body != LARGE or wire.read_response().body != PAGE:
            raise Failure("other bytes")


def obeys_close(port):
    with Wire(port) as wire:
        wire.send(ask(port, "/", "Connection: close"))
        response = expect(wire.read_response(), 200)
        if (response.header("connection") or "").lower() != "close":
            raise Failure("the response does not say Connection: close (RFC 9112 9.6)")
        wire.read_to_end()


def version_one_zero(port):
    with Wire(port) as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        response = wire.read_response()
        if response.status not in (200, 400) or response.header("transfer-encoding"):
            raise Failure(response.line)
        wire.read_to_end()


def page_then_socket(port):
    with Wire(port) as wire:
        wire.send(ask(port))
        expect(wire.read_response(), 200)
        wire.send(request(port))
        expect(wire.read_response(), 101)
        if (got := wire.read_frame())[1] != TEXT or b"Welcome" not in got[2]:
            raise Failure(f"no Welcome but {got}")


def body_is_no_request(port):
    inner = ask(port, "/style.css")
    with Wire(port) as wire:
        wire.send(ask(port, "/", f"Content-Length: {len(inner)}") + inner + ask(port, "/nosuch"))
        expect(wire.read_response(), 200)
        try:
            response = wire.read_response()
        except Failure:
            return  # closed behind a body that was not read: as safe
        expect(response, 404)


def goes_away(port):
    with Wire(port) as wire:
        wire.send(ask(port, "/large.bin"))
        wire.read_exactly(1000)
    page(port)


def origin(port, status, value=None):
    expect(answer(port, request(port, ("Origin", value))), status)


def two_origins(port, own):
    data = request(port, ("Origin", own)).replace(b"\r\n\r\n", b"\r\nOrigin: http://elsewhere.example\r\n\r\n")
    if (response := answer(port, data)).status not in (400, 403):
        raise Failure(response.line)
