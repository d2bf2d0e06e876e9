"""netcat.py ECHO LIMITED CHAT: what a person sees who types a handshake into `nc -C`. The arguments are ports."""
import subprocess
import sys

from report import expect, report

ECHO, _, CHAT = sys.argv[1:]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
FIELDS = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}


def typed(port, lines, wanted, then=b""):
    """Types lines into nc, and reads until `wanted` has come; then types `then`, and returns a function that reads on."""
    process = subprocess.Popen(["nc", "-C", "127.0.0.1", port], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write("\n".join([*lines, "", ""]).encode())
        process.stdin.flush()
        seen = read_until(process, b"", wanted)
        if then:
            process.stdin.write(then[0])
            process.stdin.flush()
            seen = read_until(process, seen, then[1])
        return seen
    finally:
        process.kill()
        process.wait()


def read_until(process, seen, wanted):
    while wanted not in seen:
        data = process.stdout.read1()
        if not data:
            raise AssertionError(f"nc ended after {seen!r}")
        seen += data
    return seen


def handshake(spelled, port):
    seen = typed(port, ["GET / HTTP/1.1", *(f"{spelled(name)}: {value}" for name, value in FIELDS.items())], b"\r\n\r\n")
    lines = seen.decode("utf-8", "replace").split("\r\n")
    expect(lines[0].split(" ")[:2], ["HTTP/1.1", "101"])
    if f"sec-websocket-accept: {ACCEPT}".lower() not in [line.lower() for line in lines] or ACCEPT not in seen.decode("latin-1"):
        raise AssertionError(f"no Sec-WebSocket-Accept: {ACCEPT} in {lines}")


def welcome():
    seen = typed(CHAT, ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in FIELDS.items())], b"# 1 here")
    if b"* Welcome to the lobby" not in seen:
        raise AssertionError(f"no readable Welcome in {seen!r}")


def hello():
    """The masked Hello of RFC 6455 5.7, typed as bytes, comes back unmasked."""
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    typed(ECHO, ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in FIELDS.items())], b"\r\n\r\n", (masked, b"\x81\x05Hello"))


def missing_host():
    fields = [f"{name}: {value}" for name, value in FIELDS.items() if name != "Host"]
    seen = typed(ECHO, ["GET / HTTP/1.1", *fields], b"Host").decode()
    expect(seen.split(" ")[:2], ["HTTP/1.1", "400"])


report([
    ("a typed handshake is answered by the echo server", lambda: handshake(str, ECHO)),
    ("header names in lower case are taken", lambda: handshake(str.lower, ECHO)),
    ("header names in upper case are taken", lambda: handshake(str.upper, ECHO)),
    ("header names in mixed case are taken", lambda: handshake(str.swapcase, CHAT)),
    ("the chat's Welcome is readable", welcome),
    ("a typed frame is echoed", hello),
    ("a forgotten Host is told", missing_host),
])
