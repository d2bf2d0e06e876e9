"""Deadlines that a peer cannot stretch: the handshake's 10 seconds, keep-alive's 15, a close's 5.

All of them run at the same time, each in its thread: together they take as long as the slowest.
"""
import threading
import time

from testee import Failure, raise_descriptor_limit
from wire import DEADLINE, TEXT, Wire, close_frame, frame, opened, request

HANDSHAKE, KEEP_ALIVE, CLOSING = 10.0, 15.0, 5.0
EARLY, LATE = 0.5, 3.0  # how much before and after a deadline still counts as kept, on a busy machine
HALF_OPEN = 1000


def checks(echo, chat):
    for name, wait in run_together([
        ("a silent connection ends at the handshake's deadline", lambda: silent(echo)),
        ("half a request ends at the handshake's deadline", lambda: half(echo)),
        ("a dripping request line does not extend the deadline", lambda: dripping(echo, request(echo.port))),
        ("dripping headers do not extend the deadline", lambda: dripping(echo, request(echo.port)[:-2] + b"X-A: 1\r\n" * 100)),
        ("dripping empty lines do not extend the deadline", lambda: dripping(echo, b"\r\n" * 100)),
        (f"{HALF_OPEN:,} half-open connections end at the deadline, and others are served meanwhile", lambda: many_half_open(echo)),
        ("an idle kept-alive connection ends", lambda: kept_alive(chat)),
        ("a peer that never answers a Close is left", lambda: never_answers(echo)),
        ("a peer that goes on sending after its Close is left", lambda: sends_on(echo)),
        ("a refused peer that goes on sending is left", lambda: refused_sends_on(echo)),
        ("an idle WebSocket stays open beyond the handshake's deadline", lambda: stays(echo)),
    ]):
        yield name, wait


def run_together(named):
    """(name, function that waits for the check's end and raises what it raised)."""
    def started(function):
        raised = []

        def body():
            try:
                function()
            except Exception as error:  # told where it is waited for
                raised.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()

        def wait():
            thread.join(60)
            if thread.is_alive():
                raise Failure("did not end within 60 s")
            if raised:
                raise raised[0]
        return wait

    raise_descriptor_limit()
    return [(name, started(function)) for name, function in named]


def ends_at(wire, deadline, began):
    wire.read_to_end(deadline + LATE + 2)
    took = time.monotonic() - began
    if not deadline - EARLY < took < deadline + LATE:
        raise Failure(f"ended after {took:.1f} s instead of {deadline:.0f} s")


def silent(echo):
    began = time.monotonic()
    with Wire(echo.port) as wire:
        ends_at(wire, HANDSHAKE, began)


def half(echo):
    began = time.monotonic()
    with Wire(echo.port) as wire:
        wire.send(request(echo.port)[:60])
        ends_at(wire, HANDSHAKE, began)


def dripping(echo, data):
    """One byte each tenth of a second, until the server ends it."""
    began = time.monotonic()
    with Wire(echo.port) as wire:
        for byte in data[:-1]:
            wire.send(bytes([byte]))
            try:
                if not wire.fill(0.1):
                    break
            except Failure:
                pass  # nothing came, as wanted: the next byte
            if time.monotonic() - began > HANDSHAKE + LATE:
                raise Failure(f"still open after {HANDSHAKE + LATE:.0f} s")
        ends_at(wire, HANDSHAKE, began)


def many_half_open(echo):
    began = time.monotonic()
    wires = [Wire(echo.port) for _ in range(HALF_OPEN)]
    try:
        for number, wire in enumerate(wires):
            wire.send(request(echo.port)[:number % 100])
        opened_after = time.monotonic() - began
        with opened(echo) as other:
            other.send(frame(TEXT, b"served"))
            if other.read_frame() != (True, TEXT, b"served"):
                raise Failure("another peer got no echo")
        for wire in wires:
            wire.read_to_end(max(0.1, HANDSHAKE + opened_after + LATE - (time.monotonic() - began)))
        if (took := time.monotonic() - began) < HANDSHAKE - EARLY:
            raise Failure(f"ended after {took:.1f} s already")
    finally:
        for wire in wires:
            wire.socket.close()


def kept_alive(chat):
    with Wire(chat.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.read_response()
        ends_at(wire, KEEP_ALIVE, time.monotonic())


def never_answers(echo):
    with opened(echo) as wire:
        wire.send(frame(3))
        wire.read_close()
        began = time.monotonic()
        wire.read_to_end(CLOSING + LATE)
        if time.monotonic() - began > CLOSING + LATE:
            raise Failure("still open")


def sends_on(echo):
    with opened(echo) as wire:
        began = time.monotonic()
        wire.send(close_frame(1000))
        floods(wire, began, frame(TEXT, b"x" * 1000))


def refused_sends_on(echo):
    with Wire(echo.port) as wire:
        began = time.monotonic()
        wire.send(b"nonsense\r\n\r\n")
        floods(wire, began, b"x" * 1000)


def floods(wire, began, data):
    """Sends until the peer resets the connection: it must not read for ever."""
    wire.socket.settimeout(DEADLINE)
    while time.monotonic() - began < CLOSING + LATE:
        try:
            wire.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return
        except TimeoutError:
            continue
    raise Failure(f"still taken after {CLOSING + LATE:.0f} s")


def stays(echo):
    with opened(echo) as wire:
        try:
            wire.fill(HANDSHAKE + LATE)
        except Failure:
            pass  # nothing came, as wanted
        else:
            raise Failure(f"ended, or got {wire.buffer!r}")
        wire.send(frame(TEXT, b"still"))
        if wire.read_frame() != (True, TEXT, b"still"):
            raise Failure("no echo")
