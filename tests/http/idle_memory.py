#!/usr/bin/env python3
"""Resident bytes per idle WebSocket connection of an echo server, after opening and after one echo each.

    idle_memory.py [N] [--tls] [--at-most BYTES] [--echo COMMAND]

Opens N (10,000) connections to target/c/echo_server from several loopback addresses, so that the ports of one do
not run out, and prints what the server grew by, divided by N, from smaps_rollup and from status. A hundred others are
opened and used before and stay open, so that what is counted is connections and not the program's start. With --tls all
of them are encrypted (TLS 1.3), with a certificate that is made for it; that needs the openssl command.
"""
import argparse
import contextlib
import resource
import ssl
import sys
import tempfile

sys.dont_write_bytecode = True

from testee import PROGRAMS, ROOT, Failure, Testee, proc_bytes, raise_descriptor_limit  # noqa: E402
from wire import TEXT, Wire, frame, request  # noqa: E402

SOURCES = 8  # 127.0.0.1 to 127.0.0.8
BATCH = 100  # requests under way at the same time
SPARE = 300  # descriptors that both sides need besides: the first hundred, and those that the server keeps back


def main():
    parser = argparse.ArgumentParser(description="Resident bytes per idle WebSocket connection.")
    parser.add_argument("count", nargs="?", type=int, default=10_000, metavar="N")
    parser.add_argument("--at-most", type=int, metavar="BYTES", help="exit with 1 where a connection takes more")
    parser.add_argument("--echo", metavar="COMMAND", help="another server than target/c/echo_server; {port} is filled in")
    parser.add_argument("--tls", action="store_true", help="encrypted connections; not with --echo")
    options = parser.parse_args()
    if options.tls and options.echo is not None:
        parser.error("--tls is for target/c/echo_server")
    if options.echo is None and not (PROGRAMS / "echo_server").exists():
        sys.exit(f"idle_memory: {PROGRAMS / 'echo_server'} is not there: run `make examples` first")
    limit = raise_descriptor_limit()
    count = options.count
    if limit != resource.RLIM_INFINITY and count > limit - SPARE:
        count = limit - SPARE
        print(f"idle_memory: only {count} connections, since the hard limit of descriptors is {limit}")
    with contextlib.ExitStack() as stack:
        words, seal = [], None
        if options.tls:
            words, seal = encrypted(stack.enter_context(tempfile.TemporaryDirectory()))
        echo = stack.enter_context(Testee("echo_server", *words, command=options.echo and options.echo.split()))
        first = connect(echo, 100, seal)
        for wire in first:
            wire.send(frame(TEXT, b"echo"))
            expect_echo(wire)
        before = measure(echo.pid)
        wires = connect(echo, count, seal)
        opened = tell("after open", before, measure(echo.pid), count)
        for start in range(0, count, BATCH):
            for wire in wires[start:start + BATCH]:
                wire.send(frame(TEXT, b"echo"))
            for wire in wires[start:start + BATCH]:
                expect_echo(wire)
        used = tell("after one echo each", before, measure(echo.pid), count)
    if options.at_most is not None and max(opened, used) > options.at_most:
        sys.exit(f"FAILED {max(opened, used):.0f} bytes a connection instead of at most {options.at_most}")


def encrypted(folder):
    """The options that have echo_server show a certificate, and what makes a connection to it an encrypted one."""
    sys.path.append(str(ROOT / "tests" / "interop"))
    import certificates

    words = certificates.shown(folder, "server")
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def seal(wire):
        wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")

    return words, seal


def connect(echo, count, seal):
    wires = []
    while len(wires) < count:
        batch = [Wire(echo.port, source=f"127.0.0.{1 + (len(wires) + number) % SOURCES}")
                 for number in range(min(BATCH, count - len(wires)))]
        for wire in batch:
            if seal:
                seal(wire)
            wire.send(request(echo.port))
        for wire in batch:
            if (response := wire.read_response()).status != 101:
                raise Failure(f"connection {len(wires)}: {response.line} {response.body!r}")
        wires += batch
    return wires


def expect_echo(wire):
    if wire.read_frame() != (True, TEXT, b"echo"):
        raise Failure("no echo")


def measure(pid):
    return proc_bytes(pid, "smaps_rollup", "Rss"), proc_bytes(pid, "status", "VmRSS")


def tell(when, before, after, count):
    rollup, status = (now - then for now, then in zip(after, before))
    print(f"{when}: {rollup / count:.0f} bytes a connection (smaps_rollup), {status / count:.0f} (VmRSS), {count} connections")
    return max(rollup, status) / count


main()
