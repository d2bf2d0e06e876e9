"""The known differences: each entry of differences.md as a rule that lets exactly that class pass.

A rule looks at a stream and at the two verdicts, dari's and the other's. If the difference is of its class it says so
(True), or names what has to agree for it to be one: a changed stream, and two engines' verdicts on it, which are then
compared again. Most rules do the latter: they take the cause out of the stream and see whether the difference goes.
"""
import dataclasses
import zlib

import engines
from frames import CLOSE, RSV1, TEXT, BINARY, walk

DEPTH = 4  # classes that may come together in one stream
MESSAGES = ("text", "binary")
TAIL = b"\0\0\xff\xff"  # RFC 7692 7.2.2
FILL = 1 << 20  # bytes that a stream is completed with, at the most


class Judge:
    def __init__(self, program):
        self.program = program

    def verdicts(self, stream):
        return dict(self.program.ask(stream), wsproto=engines.wsproto(stream))

    def explain(self, stream, name, dari, other, depth=0):
        """The classes that the difference consists of, none if there is no difference; None if it is not known."""
        if engines.agree(dari, other):
            return []
        if depth == DEPTH:
            return None
        for rule in RULES:
            if name not in rule.engines:
                continue
            more = rule.test(Case(self, stream, name, dari, other))
            if more is True:
                return [rule.name]
            if more:
                rest = self.explain(*more[:1], name, *more[1:], depth + 1)
                if rest is not None:
                    return [rule.name, *rest]
        return None


@dataclasses.dataclass
class Case:
    judge: Judge
    stream: object
    name: str
    dari: dict
    other: dict

    def frames(self):
        return list(walk(self.stream.data))

    def ask(self, name, **changes):
        """What an engine makes of the stream with changes."""
        stream = self.stream.but(**changes)
        return engines.wsproto(stream) if name == "wsproto" else self.judge.program.ask(stream)[name]

    def offence(self):
        """The frame where dari has met the offence."""
        offset = self.dari["offset"]
        return next((found for found in self.frames() if found.frame and found.start <= offset < found.end), None)

    def same_events(self):
        return self.dari["events"] == self.other["events"]

    def is_refused(self, dari=None, other=None):
        """Both refuse at the same place, with these codes."""
        return self.same_events() and self.codes() == (dari, other)

    def codes(self):
        return tuple(verdict["sent"] if verdict["end"] == "refused" else None for verdict in (self.dari, self.other))


@dataclasses.dataclass
class Rule:
    name: str
    engines: tuple
    test: object


RULES = []


def rule(name, *names):
    def add(test):
        RULES.append(Rule(name, names, test))
        return test
    return add


@rule("a frame that is not all there", "wsproto", "tungstenite")
def not_all_there(case):
    """Completed with zeros, the stream is refused by both. dari may be the later one within a header only."""
    last = (case.frames() or [None])[-1]
    if last is None or not case.same_events() or {case.dari["end"], case.other["end"]} != {"open", "refused"}:
        return False
    data = case.stream.data
    if last.frame is None:
        while last.frame is None:
            data += b"\0"
            last = list(walk(data))[-1]
    elif case.dari["end"] == "open":
        return False
    for length in (len(data), last.end):
        if len(data) <= length <= len(data) + FILL:
            full = case.stream.but(data=data.ljust(length, b"\0"))
            dari, other = case.ask("dari", data=full.data), case.ask(case.name, data=full.data)
            if dari["end"] == other["end"] == "refused" and (case.dari["end"] == "open" or engines.agree(dari, case.dari)):
                return full, dari, other
    return False


@rule("close code 1014", "wsproto", "tungstenite")
def code_1014(case):
    """With 1015 in its place dari says the same."""
    if case.dari["received"] != 1014 and case.dari["why"] != "CloseReason":
        return False
    data = b""
    for found in case.frames():
        raw = case.stream.data[found.start:found.end or None]
        if found.frame and found.frame.opcode == CLOSE and found.frame.payload[:2] == (1014).to_bytes(2, "big"):
            raw = dataclasses.replace(found.frame, payload=(1015).to_bytes(2, "big") + found.frame.payload[2:]).encode()
        data += raw
    if data == case.stream.data or case.codes()[1] != 1002:
        return False
    return case.stream.but(data=data), case.ask("dari", data=data), case.other


@rule("front of a surrogate", "wsproto")
def surrogate(case):
    """What there is of the text ends with two bytes that begin no character; the third one has not come."""
    events = len(case.dari["events"])
    more = case.other["events"][events:]
    if case.dari["why"] != "Text" or case.other["events"][:events] != case.dari["events"]:
        return False
    if any(kind in MESSAGES for kind, _ in more):
        return False
    text = text_so_far(case)
    return text[-2:-1] == b"\xed" and text[-1:] >= b"\xa0"


def text_so_far(case):
    """The text up to the end of the frame where dari has met the offence."""
    inflater = zlib.decompressobj(-15)
    found = case.offence()
    for message in messages(case.stream.data[:found.end] if found else b""):
        if message.is_compressed and (case.stream.deflate == "fresh" or inflater.eof):
            inflater = zlib.decompressobj(-15)
        if message.start <= found.start < message.end:
            return (inflate(inflater, message.content, b"") or b"") if message.is_compressed else message.content
        if message.is_compressed and inflate(inflater, message.content) is None:
            break
    return b""


@rule("length not minimal", "tungstenite")
def not_minimal(case):
    """With every length in its shortest form dari says the same."""
    found = case.dari["why"] == "LengthNotMinimal" and case.codes()[0] == 1002 and case.offence()
    if not found or found.length >= {0: 0, 2: 126, 8: 1 << 16}[found.frame.form]:
        return False
    data = b""
    for found in case.frames():
        if found.frame is None:
            data += case.stream.data[found.start:]
        else:
            data += dataclasses.replace(found.frame, form=0).encode()
    return case.stream.but(data=data), case.ask("dari", data=data), case.other


@rule("limit before other rules", "tungstenite")
def limit_first(case):
    found = case.is_refused(1002, 1009) and case.offence()
    return bool(found) and found.length > case.stream.limit


@rule("close frame with two faults", "tungstenite")
def two_faults(case):
    found = case.is_refused(1002, 1007) and case.offence()
    if not found or found.frame.opcode != CLOSE or not case.dari["why"].startswith("CloseCode"):
        return False
    return not is_text(found.frame.payload[2:])


@rule("no limit", "wsproto")
def no_limit(case):
    """Without one dari agrees, and the message, if it becomes whole, is longer than the limit."""
    if case.dari["sent"] != 1009 or not case.dari["why"].startswith("MessageTooBig"):
        return False
    dari, events = case.ask("dari", limit=None), len(case.dari["events"])
    met = next((data for kind, data in dari["events"][events:] if kind in MESSAGES), None)
    if dari["events"][:events] != case.dari["events"] or met is not None and len(met) // 2 <= case.stream.limit:
        return False
    return case.stream.but(limit=None), dari, case.other


@rule("control frame inside of a compressed message", "wsproto")
def control_inside(case):
    """With the control frames in front of the messages that they stand in, both agree."""
    data, message, moved = b"", b"", False
    compressed = False
    for found in case.frames():
        raw = case.stream.data[found.start:found.end or None]
        if found.frame is None or found.frame.is_control and not found.is_in(case.stream.data):
            message += raw
        elif found.frame.is_control and found.frame.opcode != CLOSE:
            data += raw
            moved |= compressed
        else:
            message += raw
            if found.frame.opcode in (TEXT, BINARY):
                compressed = bool(found.frame.rsv & RSV1)
            if found.frame.fin:
                data, message, compressed = data + message, b"", False
    data += message
    if case.stream.deflate == "none" or not moved:
        return False
    dari = case.ask("dari", data=data)
    same = sorted_out(dari) == sorted_out(case.dari)
    return same and (case.stream.but(data=data), dari, case.ask("wsproto", data=data))


def sorted_out(verdict):
    """What is compared, with messages and control frames apart."""
    events = verdict["events"]
    apart = [[event for event in events if (event[0] in MESSAGES) == is_message] for is_message in (True, False)]
    return [apart, *(verdict[key] for key in engines.COMPARED[1:])]


@rule("behind a final block", "wsproto")
def final_block(case):
    """It refuses the first compressed message that comes after one, with all before it the same. What comes then, zlib
    reads as dari does."""
    if case.codes()[1] != 1007 or case.stream.deflate != "takeover":
        return False
    inflater, lost = zlib.decompressobj(-15), None
    for message in messages(case.stream.data):
        if not message.is_compressed:
            continue
        if inflater.eof:
            lost = message.place if lost is None else lost
            inflater = zlib.decompressobj(-15)
        if not message.is_whole or message.place >= len(case.dari["events"]):
            break
        content = inflate(inflater, message.content)
        if content is None or case.dari["events"][message.place][1] != content.hex():
            return False
    return lost == len(case.other["events"]) and case.other["events"] == case.dari["events"][:lost]


@rule("compressed message cut short", "wsproto")
def cut_short(case):
    """zlib itself says that the message does not end where a block does: a last block behind it is not read as one."""
    if case.dari["why"] != "Deflate" or case.dari["sent"] != 1007 or case.stream.deflate == "none":
        return False
    if case.other["events"][:len(case.dari["events"])] != case.dari["events"]:
        return False
    inflater = zlib.decompressobj(-15)
    for message in messages(case.stream.data):
        if not message.is_compressed:
            continue
        if case.stream.deflate == "fresh" or inflater.eof:
            inflater = zlib.decompressobj(-15)
        if message.start <= case.dari["offset"] < message.end:
            if inflate(inflater, message.content, b"") is None:
                return False
            more = inflate(inflater, b"", TAIL + b"\x01\0\0\xff\xff")
            return more != b"" or not inflater.eof or inflater.unused_data != b""
        if inflate(inflater, message.content) is None:
            return False
    return False


def inflate(inflater, content, tail=TAIL):
    """What a compressed message holds; None if it can not be inflated."""
    try:
        return inflater.decompress(content + tail)
    except zlib.error:
        return None


@dataclasses.dataclass
class Whole:
    """A message that is all there, or the front of the last one."""
    place: int  # among all events
    start: int
    end: int
    is_compressed: bool
    content: bytes = b""
    is_whole: bool = False


def messages(stream):
    """Those of a stream, up to where their order is broken or it ends."""
    place, message = 0, None
    for found in walk(stream):
        frame = found.frame
        if frame is None:
            break
        if frame.is_control:
            place += 1
            continue
        if bool(frame.opcode) == (message is not None):
            break
        message = message or Whole(place, found.start, found.end, bool(frame.rsv & RSV1))
        message.content += frame.payload
        message.end = found.end
        message.is_whole = frame.fin and found.is_in(stream)
        if frame.fin:
            yield message
            place, message = place + 1, None
    if message:
        yield message


@rule("a compressed message of no bytes", "wsproto")
def no_bytes(case):
    """With the byte that an empty message has, both agree."""
    compressed = [message for message in messages(case.stream.data) if message.is_compressed and message.is_whole]
    empty = {message.start for message in compressed if not message.content}
    data = b""
    for found in case.frames():
        if found.start in empty:
            data += dataclasses.replace(found.frame, payload=b"\0").encode()
        else:
            data += case.stream.data[found.start:found.end or None]
    if case.stream.deflate == "none" or not empty:
        return False
    dari = case.ask("dari", data=data)
    return engines.agree(dari, case.dari) and (case.stream.but(data=data), dari, case.ask("wsproto", data=data))


@rule("content before order", "wsproto")
def content_first(case):
    """A message within a compressed one is wrong whatever it holds; wsproto inflates it first."""
    found = case.is_refused(1002, 1007) and case.offence()
    if not found or case.stream.deflate == "none":
        return False
    return case.dari["why"] == "MessageInMessage" and found.frame.opcode in (TEXT, BINARY)


def is_text(payload):
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
