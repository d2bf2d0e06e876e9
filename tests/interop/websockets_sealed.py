"""websockets_sealed.py SEALED ASKING CLIENT FOLDER: the Python package `websockets` with TLS, as a client of dari's
echo_server and as a server of its echo_client. The arguments are those of ws_sealed.js."""
import contextlib
import os
import pathlib
import socket
import ssl
import sys
import threading

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.server import serve

from exchange import EchoClient
from report import SIZES, binary, expect, report, text

SEALED, ASKING, CLIENT, FOLDER = sys.argv[1:]
VERSIONS = [("TLS 1.3", ssl.TLSVersion.TLSv1_3), ("TLS 1.2", ssl.TLSVersion.TLSv1_2)]


def file(name):
    return str(pathlib.Path(FOLDER, name))


def context(side, version, shows=None):
    made = ssl.SSLContext(side)
    made.minimum_version = made.maximum_version = version
    made.load_verify_locations(file("ca.pem"))
    made.set_alpn_protocols(["http/1.1"])
    if shows:
        made.load_cert_chain(file(f"{shows}.pem"), file(f"{shows}.key"))
    return made


def opened(port, version, shows=None):
    tls = context(ssl.PROTOCOL_TLS_CLIENT, version, shows)
    return connect(f"wss://127.0.0.1:{port}/", ssl=tls, proxy=None, max_size=None, compression=None, ping_interval=None, legacy=True)


def exchange(connection):
    for size in SIZES:
        for message in (text(size), binary(size)):
            connection.send(message)
            if connection.recv() != message:
                raise AssertionError(f"{size} bytes came back changed")


def as_client(version):
    with opened(SEALED, version) as connection:
        expect(connection.socket.selected_alpn_protocol(), "http/1.1")
        exchange(connection)
        connection.close(1000, "끝")
        expect(connection.protocol.close_rcvd.code, 1000)


def as_guest(version):
    with opened(ASKING, version, "guest") as connection:
        connection.send("안녕")
        expect(connection.recv(), "안녕")
    try:
        with opened(ASKING, version):
            raise AssertionError("it was let in without a certificate")
    except (OSError, WebSocketException):
        pass


@contextlib.contextmanager
def server(handler, version, shows="server", asks=False):
    tls = context(ssl.PROTOCOL_TLS_SERVER, version, shows)
    tls.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
    with serve(handler, "127.0.0.1", 0, ssl=tls, compression=None, max_size=None, ping_interval=None) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"wss://127.0.0.1:{running.socket.getsockname()[1]}/"
        finally:
            running.shutdown()


def as_server(version):
    wrong = []

    def handler(connection):
        try:
            exchange(connection)
            connection.close(1000, "끝")
        except Exception as why:
            wrong.append(why)

    with server(handler, version) as url, EchoClient(CLIENT, url, "--ca", file("ca.pem")) as echo:
        echo.says("open -", *(f"message {kind} {size}" for size in SIZES for kind in ("text", "binary")),
                  'close 1000 clean PEER the peer closed, code 1000 "끝"')
        echo.ends(0)
    expect(wrong, [])


def as_guests_server(version):
    shows = ["--ca", file("ca.pem"), "--cert", file("guest.pem"), "--key", file("guest.key")]
    with server(lambda connection: connection.close(1000), version, asks=True) as url, EchoClient(CLIENT, url, *shows) as echo:
        echo.says("open -", "close 1000 clean PEER ")
        echo.ends(0)


def cut_off(version):
    def cut(connection):
        with socket.socket(fileno=os.dup(connection.socket.fileno())) as plain:
            plain.shutdown(socket.SHUT_RDWR)

    with server(cut, version) as url, EchoClient(CLIENT, url, "--ca", file("ca.pem")) as echo:
        line = "the peer ended the stream without a Close frame, without TLS's close_notify: something may be missing"
        echo.says("open -", f"error {line}", f"close 1006 unclean EOF {line}")
        echo.ends(0)


report([
    (f"{what}, {name}", lambda check=check, version=version: check(version))
    for what, check in [
        ("messages of every size to dari's server", as_client),
        ("messages of every size to dari's client", as_server),
        ("certificates shown to dari's server", as_guest),
        ("certificates shown by dari's client", as_guests_server),
        ("an end that was cut off", cut_off),
    ]
    for name, version in VERSIONS
])
