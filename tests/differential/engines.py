"""What the engines make of a stream: dari-core and tungstenite through the program here, wsproto in this process.

A verdict is a dictionary, as src/verdict.rs describes it.
"""
import json
import subprocess

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from frames import CLOSE, PONG, walk

COMPARED = ("events", "end", "received", "reason", "sent", "clean")


def agree(one, other):
    return all(one[key] == other[key] for key in COMPARED)


class Program:
    """dari-core and tungstenite."""

    def __init__(self, path):
        self.path = path
        self.process = None

    def ask(self, stream):
        if self.process is None:
            self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.process.stdin.write(stream.line() + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status, self.process = self.process.wait(), None
            dead = dict(empty(), end=f"died ({status})")
            return {"dari": dead, "dari in parts": dead}
        return json.loads(answer)

    def end(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def empty():
    return {"events": [], "end": "open", "received": None, "reason": None, "sent": None, "clean": False, "why": "",
            "offset": None}


def wsproto(stream):
    """The codec behind wsproto's handshake; its user here answers pings and Close frames as its documentation says."""
    role = ConnectionType.CLIENT if stream.role == "client" else ConnectionType.SERVER
    peer = Connection(role, extensions(stream))
    verdict = empty()
    message = []
    size = stream.piece or max(1, len(stream.data))
    try:
        for at in range(0, len(stream.data), size):
            peer.receive_data(stream.data[at:at + size])
            for event in peer.events():
                if not note(peer, event, message, verdict):
                    return verdict
    except Exception as error:  # what it raises is not for its user to see
        verdict.update(end="raised", why=repr(error))
    return verdict


def extensions(stream):
    if stream.deflate == "none":
        return []
    extension = PerMessageDeflate()
    parameters = "; server_no_context_takeover; client_no_context_takeover" if stream.deflate == "fresh" else ""
    if stream.role == "client":
        extension.finalize("permessage-deflate" + parameters)
    else:
        extension.accept("permessage-deflate" + parameters)
    assert extension.enabled()
    return [extension]


def note(peer, event, message, verdict):
    """Adds an event to a verdict; false if it is the last one."""
    if isinstance(event, (TextMessage, BytesMessage)):
        message.append(event.data)
        if event.message_finished:
            is_text = isinstance(event, TextMessage)
            whole = "".join(message).encode() if is_text else b"".join(message)
            message.clear()
            verdict["events"].append(["text" if is_text else "binary", whole.hex()])
    elif isinstance(event, Ping):
        answer = sent(peer.send(event.response()))
        assert answer.opcode == PONG
        verdict["events"].append(["ping", answer.payload.hex()])
    elif isinstance(event, Pong):
        verdict["events"].append(["pong", bytes(event.payload).hex()])
    else:
        assert isinstance(event, CloseConnection)
        refused = peer.state is ConnectionState.OPEN
        answer = sent(peer.send(CloseConnection(event.code, event.reason) if refused else event.response()))
        assert answer.opcode == CLOSE
        code = int.from_bytes(answer.payload[:2], "big") or 1005
        verdict["sent"] = code
        if refused:
            verdict.update(end="refused", why=event.reason)
        else:
            received, clean = int(event.code), peer.state is ConnectionState.CLOSED
            verdict.update(end="closed", received=received, reason=(event.reason or "").encode().hex(), clean=clean)
        return False
    return True


def sent(data):
    found, = walk(bytes(data))
    assert found.is_in(data)
    return found.frame
