"""Streams of frames out of a seed: good ones, and ones with a fault. The same seed and index are always the same stream.

The label of a stream says which fault it was given, not what has to come of it.
"""
import dataclasses
import random
import zlib

from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT, Frame

NO_LIMIT = 16 << 20
LETTERS = ["a", "Z", " ", "~", "\0", "é", "ß", "\u07ff", "\u0800", "다", "리", "\ud7ff", "\ue000", "\uffff", "\U00010000", "🌉",
           "\U0010ffff"]
BAD_TEXT = [b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc3\x28", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
            b"\xed\xbf\xbf", b"\xe2\x28\xa1", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
            b"\xf0\x9f\x8c", b"\xfe", b"\xff", b"\xe2\x82", b"\xf8\x88\x80\x80\x80"]
GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 32768, 65535]
RESERVED = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]


@dataclasses.dataclass
class Stream:
    role: str  # of the engine: server, client
    deflate: str  # none, fresh, takeover
    limit: int | None
    piece: int  # bytes that come at a time; 0: all
    data: bytes
    label: str = "given"

    def line(self):
        return f"{self.role} {self.deflate} {'none' if self.limit is None else self.limit} {self.piece} {self.data.hex() or '-'}"

    def but(self, **changes):
        return dataclasses.replace(self, **changes)


def given(line):
    role, deflate, limit, piece, data = line.split()
    return Stream(role, deflate, None if limit == "none" else int(limit), int(piece), bytes.fromhex(data.strip("-")))


def stream(seed, index):
    label = LABELS[index % len(LABELS)]
    return Maker(random.Random(f"{seed}/{index}"), label).stream()


class Maker:
    def __init__(self, rng, label):
        self.rng = rng
        self.label = label
        self.role = rng.choice(["server", "client"])
        modes = ["fresh", "takeover"] if label.startswith("deflate") else ["none"] * 4 + ["fresh", "takeover"]
        self.deflate = rng.choice(modes)
        self.compressor = None
        # One stream of its own holds these for the peer that loses its way behind them.
        self.control_in_compressed = label == "deflate: control inside"
        self.messages = []  # lists of frames

    def stream(self):
        rng = self.rng
        if self.label == "noise":
            data = self.noise()
            return Stream(self.role, self.deflate, NO_LIMIT, rng.choice([0, 0, 1, 3]), data, self.label)
        for _ in range(rng.choices([1, 2, 3, 6], [2, 4, 3, 1])[0]):
            self.messages.append(self.message())
        FAULTS.get(self.label.removeprefix("deflate: "), lambda _: None)(self)
        frames = self.flow()
        if rng.random() < 0.6:
            frames.append(self.close())
        frames = LATE.get(self.label, lambda _, frames: frames)(self, frames)
        data = b"".join(frame.encode() for frame in frames)
        limit = NO_LIMIT
        if self.label in ("limit", "deflate: limit"):
            longest = max(sum(len(frame.payload) for frame in message) for message in self.messages)
            limit = max(1, rng.choice([longest - 1, longest, longest // 2, longest + 1]))
        if self.label == "bits flipped":
            data = bytearray(data)
            for _ in range(rng.choice([1, 1, 1, 2, 5])):
                data[rng.randrange(min(len(data), rng.choice([16, 1 << 20])))] ^= 1 << rng.randrange(8)
        if self.label == "cut" or rng.random() < 0.1:
            data = data[:rng.randrange(len(data) + 1)]
        return Stream(self.role, self.deflate, limit, self.piece(len(data)), bytes(data), self.label)

    def piece(self, length):
        small = [1, 2, 3, 5] if length < 2_000 else [97, 1_000]
        return self.rng.choice([0, 0, 0, *small, 1_460, 16_384])

    def noise(self):
        rng = self.rng
        data = bytearray(rng.randbytes(rng.choice([3, 10, 40, 200])))
        for at in range(0, len(data), rng.choice([7, 11, 50])):  # most of it should look a little like frames
            data[at:at + 2] = bytes([rng.choice([0x81, 0x82, 0x01, 0x02, 0x80, 0x88, 0x89, 0x8a, 0xc1]),
                                     (self.role == "server") << 7 | rng.randrange(20)])
        return bytes(data)

    # --- what is right

    def frame(self, opcode, payload=b"", fin=True, rsv=0):
        key = None
        if self.role == "server":
            key = self.rng.choice([self.rng.randbytes(4), b"\0\0\0\0"])
        return Frame(opcode, payload, fin, rsv, key)

    def size(self):
        rng = self.rng
        return rng.choices([0, rng.randint(1, 20), rng.choice([124, 125, 126, 127, 128]), rng.randint(129, 4_000),
                            rng.choice([65_534, 65_535, 65_536, 65_537, 70_000])], [8, 50, 12, 24, 6])[0]

    def text(self, size):
        """About `size` bytes."""
        rng = self.rng
        letters = rng.choices(LETTERS[:5], k=200) if rng.random() < 0.3 else rng.choices(LETTERS, k=max(1, min(size // 2, 200)))
        some = "".join(letters).encode()
        text = (some * (size // len(some) + 1))[:size]
        return text.decode(errors="ignore").encode()

    def binary(self, size):
        rng = self.rng
        return rng.randbytes(size) if rng.random() < 0.5 else (rng.randbytes(7) * (size // 7 + 1))[:size]

    def message(self, opcode=None, content=None, compress=None):
        """The frames of a message."""
        rng = self.rng
        opcode = opcode or rng.choice([TEXT, BINARY])
        if content is None:
            content = self.text(self.size()) if opcode == TEXT else self.binary(self.size())
        compress = self.deflate != "none" and (rng.random() < 0.75 if compress is None else compress)
        if compress:
            content = self.compress(content)
        return self.fragments(opcode, content, RSV1 if compress else 0)

    def fragments(self, opcode, content, rsv):
        rng = self.rng
        parts = rng.choices([1, 2, 3, 5, 9], [50, 20, 15, 10, 5])[0]
        cuts = sorted(rng.randint(0, len(content)) for _ in range(parts - 1))
        pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)])]
        return [self.frame(opcode if i == 0 else CONTINUATION, piece, i == parts - 1, rsv if i == 0 else 0)
                for i, piece in enumerate(pieces)]

    def compress(self, content, final=False):
        if self.compressor is None or self.deflate == "fresh":
            self.compressor = zlib.compressobj(self.rng.choice([0, 1, 6, 9]), zlib.DEFLATED, -15)
        if final:  # RFC 7692 7.2.3.4
            done = self.compressor.compress(content) + self.compressor.flush(zlib.Z_FINISH) + b"\0"
            self.compressor = None
            return done
        done = self.compressor.compress(content) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        assert done.endswith(b"\0\0\xff\xff")
        return done[:-4]

    def control(self):
        opcode = self.rng.choice([PING, PONG])
        return self.frame(opcode, self.rng.randbytes(self.rng.choice([0, 1, 5, 124, 125])))

    def close(self):
        rng = self.rng
        if rng.random() < 0.2:
            return self.frame(CLOSE)
        reason = self.text(rng.choice([0, 0, 5, 122, 123]))
        return self.frame(CLOSE, rng.choice(GOOD_CODES).to_bytes(2, "big") + reason)

    def flow(self):
        """All frames, with control frames between and inside of messages."""
        frames = []
        for message in self.messages:
            compressed = bool(message[0].rsv & RSV1)
            for i, frame in enumerate(message):
                may = i == 0 or not compressed or self.control_in_compressed
                while may and self.rng.random() < 0.2:
                    frames.append(self.control())
                frames.append(frame)
        return frames

    # --- what is wrong

    def some(self, test=lambda frame: True):
        """One of the frames that pass, if any does."""
        frames = [frame for message in self.messages for frame in message if test(frame)]
        return self.rng.choice(frames) if frames else None

    def insert(self, frame):
        """A frame at a random place, most often within a message."""
        message = self.rng.choice(self.messages)
        message.insert(self.rng.randint(0, len(message)), frame)

    def wrong_mask(self):
        frame = self.some()
        frame.key = self.rng.randbytes(4) if frame.key is None else None

    def wrong_rsv(self):
        if self.rng.random() < 0.3:
            self.insert(self.control())
        self.some().rsv ^= self.rng.randint(1, 7)

    def wrong_opcode(self):
        if self.rng.random() < 0.5:
            self.some().opcode = self.rng.choice(RESERVED)
        else:
            self.insert(self.frame(self.rng.choice(RESERVED), b"x", fin=self.rng.random() < 0.7))

    def fragmented_control(self):
        frame = self.frame(self.rng.choice([PING, PONG, CLOSE]), self.rng.choice([b"", b"\x03\xe8"]), fin=False)
        self.insert(frame)

    def long_control(self):
        content = self.rng.choice([126, 127, 200, 65_536])
        self.insert(self.frame(self.rng.choice([PING, PONG, CLOSE]), b"\x03\xe8" + b"a" * (content - 2)))

    def wrong_length(self):
        if self.rng.random() < 0.3:
            self.insert(self.control())
        frame = self.some(lambda frame: len(frame.payload) < 1 << 16)
        if frame is None:
            frame = self.control()
            self.insert(frame)
        frame.form = 8 if len(frame.payload) > 125 else self.rng.choice([2, 8])

    def huge_length(self):
        frame = self.frame(self.rng.choice([TEXT, BINARY]), b"abc", fin=self.rng.random() < 0.7)
        frame.declared = self.rng.choice([1 << 63, (1 << 64) - 1, (1 << 63) + 5, 1 << 40, (1 << 63) - 1, (16 << 20) + 1])
        self.messages.append([frame])

    def bad_text(self):
        text = bytearray(self.text(self.size()))
        bad = self.rng.choice(BAD_TEXT)
        at = self.rng.choice([0, len(text), self.rng.randint(0, len(text))])
        if self.rng.random() < 0.2 and text:
            text[self.rng.randrange(len(text))] = self.rng.randrange(128, 256)
        else:
            text[at:at] = bad
        # With context takeover it may refer to all that came before it.
        at = len(self.messages) if self.deflate == "takeover" else self.rng.randint(0, len(self.messages))
        self.messages.insert(at, self.message(TEXT, bytes(text)))

    def surrogate(self):
        """The front of one, at the end of a fragment; the message goes on or does not."""
        front = self.text(9) + b"\xed" + bytes([self.rng.randint(0x80, 0xbf)])
        rest = [self.frame(CONTINUATION, self.rng.choice([b"\x80", b"a"]))] if self.rng.random() < 0.5 else []
        self.messages.append([self.frame(TEXT, front, fin=False), *rest])

    def closing(self, payload):
        self.insert(self.frame(CLOSE, payload))

    def bad_code(self):
        reason = self.rng.choice([b"", b"why", self.rng.choice(BAD_TEXT)])
        self.closing(self.rng.choice(BAD_CODES).to_bytes(2, "big") + reason)

    def any_code(self):
        ranges = [(0, 65_535), (990, 1_030), (2_990, 5_010)]
        self.closing(self.rng.randint(*self.rng.choice(ranges)).to_bytes(2, "big"))

    def short_close(self):
        self.closing(self.rng.randbytes(1))

    def bad_reason(self):
        self.closing(b"\x03\xe8" + self.text(9) + self.rng.choice(BAD_TEXT))

    def interleaved(self):
        pieces = [message for message in self.messages if len(message) > 1]
        if not pieces:
            pieces = [self.fragments(BINARY, self.binary(30), 0) + [self.frame(CONTINUATION)]]
            pieces[0][-2].fin = False
            self.messages += pieces
        message = self.rng.choice(pieces)
        rsv = RSV1 if self.deflate != "none" and self.rng.random() < 0.5 else 0
        content, fin = self.rng.choice([b"", b"no", b"\xff\xff"]), self.rng.random() < 0.5
        other = self.frame(self.rng.choice([TEXT, BINARY]), content, fin, rsv)
        message.insert(self.rng.randint(1, len(message) - 1), other)

    def stray_continuation(self):
        frame = self.frame(CONTINUATION, self.rng.choice([b"", b"more"]), self.rng.random() < 0.5)
        self.messages.insert(self.rng.randint(0, len(self.messages)), [frame])

    def two(self):
        for fault in self.rng.sample(sorted(set(FAULTS) - {"two faults"} - DEFLATE_ONLY), 2):
            FAULTS[fault](self)

    def squeezed(self):
        """A compressed message, added at the end."""
        self.messages.append(self.message(compress=True))
        return self.messages[-1]

    def corrupt(self):
        message = self.squeezed()
        frame = self.rng.choice([frame for frame in message if frame.payload])
        data = bytearray(frame.payload)
        data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        frame.payload = bytes(data)

    def cut_short(self):
        message = self.squeezed()
        while sum(len(frame.payload) for frame in message) < 3:
            message = self.squeezed()
        frame = next(frame for frame in reversed(message) if frame.payload)
        frame.payload = frame.payload[:self.rng.randint(1 if message[0] is frame else 0, len(frame.payload) - 1)]
        self.messages += [self.message(compress=False)]

    def flag(self):
        """RSV1 where it may not be, or not where it should be."""
        message = self.squeezed()
        if self.rng.random() < 0.4:
            message[0].rsv = 0
        elif self.rng.random() < 0.5:
            message.insert(self.rng.randint(0, len(message)), self.frame(PING, b"x", rsv=RSV1))
        else:
            message[-1].rsv ^= self.rng.choice([RSV1, 2, 1]) if len(message) == 1 else RSV1

    def final_block(self):
        opcode = self.rng.choice([TEXT, BINARY])
        content = self.text(self.size()) if opcode == TEXT else self.binary(self.size())
        self.messages.append(self.fragments(opcode, self.compress(content, final=True), RSV1))
        for _ in range(self.rng.randrange(3)):
            self.messages.append(self.message())

    def nothing(self):
        self.messages.append([self.frame(TEXT, rsv=RSV1)])
        self.messages.append(self.message(compress=True))

    def control_inside(self):
        content = self.compress(self.text(self.size() + 40))
        pieces = []
        while len(pieces) < 2:
            pieces = self.fragments(TEXT, content, RSV1)
        pieces.insert(self.rng.randint(1, len(pieces) - 1), self.control())
        self.messages.append(pieces)

    def big(self):
        self.messages.append(self.message(BINARY, bytes(self.rng.choice([5_000, 70_000])), compress=self.deflate != "none"))

    # --- what is wrong with the whole

    def behind_the_end(self, frames):
        return frames + [self.close(), *self.flow(), self.close()]


FAULTS = {
    "wrong mask bit": Maker.wrong_mask,
    "reserved bits": Maker.wrong_rsv,
    "reserved opcode": Maker.wrong_opcode,
    "fragmented control": Maker.fragmented_control,
    "long control": Maker.long_control,
    "length not minimal": Maker.wrong_length,
    "huge length": Maker.huge_length,
    "bad text": Maker.bad_text,
    "half a surrogate": Maker.surrogate,
    "bad close code": Maker.bad_code,
    "any close code": Maker.any_code,
    "close of one byte": Maker.short_close,
    "bad close reason": Maker.bad_reason,
    "message in message": Maker.interleaved,
    "nothing to continue": Maker.stray_continuation,
    "limit": Maker.big,
    "two faults": Maker.two,
    "corrupt": Maker.corrupt,
    "cut short": Maker.cut_short,
    "flag": Maker.flag,
    "final block": Maker.final_block,
    "nothing": Maker.nothing,
    "control inside": Maker.control_inside,
}
DEFLATE_ONLY = {"corrupt", "cut short", "flag", "final block", "nothing", "control inside"}
LATE = {"behind the end": Maker.behind_the_end}
LABELS = ["good", *(name for name in FAULTS if name not in DEFLATE_ONLY), *LATE, "cut", "bits flipped", "noise",
          "deflate: good", "deflate: limit", "deflate: bad text", *(f"deflate: {name}" for name in sorted(DEFLATE_ONLY))]
