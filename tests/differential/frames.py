"""Frames as bytes: written with any fault, and read back out of a stream, as far as they can be told apart.

Knows the layout (RFC 6455 5.2) and no rule.
"""
import dataclasses

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1 = 4  # as in Frame.rsv


@dataclasses.dataclass
class Frame:
    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    key: bytes | None = None  # none: not masked
    form: int = 0  # bytes of the extended length: 0, 2, 8; fewer than needed count as needed
    declared: int | None = None  # a length other than the payload's

    def encode(self):
        length = len(self.payload) if self.declared is None else self.declared
        form = max(self.form, 0 if length < 126 else 2 if length < 1 << 16 else 8)
        short = {0: length, 2: 126, 8: 127}[form]
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, (self.key is not None) << 7 | short])
        head += length.to_bytes(form, "big") if form else b""
        return head + (self.payload if self.key is None else self.key + mask(self.payload, self.key))

    @property
    def is_control(self):
        return self.opcode >= 8


@dataclasses.dataclass
class Found:
    """A frame of a stream. Without a header that is all there, only `start` is known."""
    start: int
    frame: Frame | None = None
    length: int = 0  # as declared
    end: int = 0  # where it ends, or would

    def is_in(self, stream):
        return self.frame is not None and self.end <= len(stream)


def mask(payload, key):
    if not payload or not any(key):
        return payload
    keys = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


def walk(stream):
    """The frames of a stream in their order. The last one may be cut."""
    at = 0
    while at < len(stream):
        first, second = (stream[at:at + 2] + b"\0")[:2]
        form = {126: 2, 127: 8}.get(second & 0x7f, 0)
        keyed = 4 if second & 0x80 else 0
        body = at + 2 + form + keyed
        if body > len(stream):
            yield Found(at)
            return
        length = int.from_bytes(stream[at + 2:at + 2 + form], "big") if form else second & 0x7f
        key = stream[body - 4:body] if keyed else None
        payload = stream[body:body + length]
        payload = payload if key is None else mask(payload, key)
        frame = Frame(first & 15, payload, bool(first & 0x80), first >> 4 & 7, key, form)
        if len(payload) < length:
            frame.declared = length
        yield Found(at, frame, length, body + length)
        at = body + length
