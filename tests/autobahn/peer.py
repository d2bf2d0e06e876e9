"""peer.py client|server SPEC RESULTS - the ported suite's fuzzing peer, run by the suite's own Python.

Writes one JSON line per case to RESULTS as soon as the case has ended: what ran stays known when the testee dies.
Differs from the suite's own `wstest` in the patience only: a case that waits for a stalled testee has its short
deadlines stretched (busy machines) and its long ones cut (up to 480 s for one case). What is sent, expected and
judged is the suite's.
"""
import importlib.util
import json
import os
import sys
import types

import autobahntestsuite
from peer_text import hexlify, to_bytes

STRETCH = float(os.environ.get("AUTOBAHN_STRETCH", "4"))  # times the deadlines of up to 3 seconds
LONGEST = float(os.environ.get("AUTOBAHN_LONGEST", "240"))  # seconds that one case may wait


def stub(name, **members):
    """A module that the suite imports for what is not used here."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


HERE = os.path.dirname(autobahntestsuite.__file__)
stub("report", CSS_COMMON="", CSS_DETAIL_REPORT="", CSS_MASTER_REPORT="", JS_MASTER_REPORT="")  # no HTML is made
stub("pkg_resources", resource_filename=lambda package, name: os.path.join(HERE, name))
if importlib.util.find_spec("OpenSSL") is None:  # No case uses TLS.
    from twisted import internet
    internet.ssl = stub("twisted.internet.ssl", ClientContextFactory=lambda: None)

from twisted.internet import reactor  # noqa: E402
from autobahntestsuite import fuzzing  # noqa: E402
from autobahntestsuite.case import case  # noqa: E402


def shown(data, *_):
    """A payload in a result: as text if it is text, else in hex, and not more than a line of it."""
    data = to_bytes(data)
    short = data[:64]
    text = short.decode("utf-8", "backslashreplace") if short.isascii() else "0x" + hexlify(short)
    return text + (f" ... ({len(data)} bytes)" if len(data) > 64 else "")


fuzzing.binLogData = fuzzing.asciiLogData = shown
case.Case.compare = lambda self, one, other: to_bytes(one) == to_bytes(other)


class Border:
    """Between the suite's Latin-1 strings and autobahn's bytes."""

    def sendFrame(self, opcode, payload=b"", *rest, payload_len=None, **options):
        payload = to_bytes(payload)
        if payload_len is not None and payload:  # autobahn repeats the payload with Python 2's integer division
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        super().sendFrame(opcode, payload, *rest, **options)

    def sendMessage(self, payload, *rest, **options):
        super().sendMessage(to_bytes(payload), *rest, **options)

    def sendMessageFrameData(self, payload, *rest, **options):
        return super().sendMessageFrameData(to_bytes(payload), *rest, **options)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, to_bytes(reasonUtf8), isReply)

    def sendData(self, data, *rest, **options):
        super().sendData(to_bytes(data), *rest, **options)

    def logRxOctets(self, data):
        pass

    def logTxOctets(self, data, sync):
        pass

    def logRxFrame(self, header, payload):
        stats = self.rxFrameStats
        stats[header.opcode] = stats.get(header.opcode, 0) + 1
        self.note("received", header, b"".join(payload))

    def logTxFrame(self, header, payload, *_):
        stats = self.txFrameStats
        stats[header.opcode] = stats.get(header.opcode, 0) + 1
        self.note("sent", header, payload)

    def note(self, direction, header, payload):
        if self.createWirelog and len(self.wirelog) < 200:
            self.wirelog.append(f"{direction} opcode {header.opcode} fin {int(header.fin)} rsv {header.rsv} "
                                f"length {len(payload)}: {shown(payload)}")

    def killAfter(self, delay):
        super().killAfter(delay * STRETCH)

    def closeAfter(self, delay):
        super().closeAfter(min(delay * STRETCH if delay <= 3 else delay, LONGEST))


class Results:
    """Each ended case as a line; no reports at the end."""

    def logCase(self, result):
        super().logCase(result)
        kept = {key: result[key] for key in ("id", "behavior", "behaviorClose", "remoteCloseCode", "duration")}
        if "FAILED" in kept["behavior"] or kept["behavior"] != kept["behaviorClose"] or kept["behavior"] != "OK":
            for key in ("expectation", "expected", "received", "result", "resultClose", "wirelog"):
                kept[key] = result[key]
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(kept, default=shown) + "\n")

    def createReports(self, *_, **__):
        pass


ROLE, SPEC, RESULTS = sys.argv[1:]
with open(SPEC, encoding="utf-8") as file:
    SPEC = json.load(file)
if ROLE == "client":
    class FuzzingClientProtocol(Border, fuzzing.FuzzingClientProtocol):
        pass

    class Client(Results, fuzzing.FuzzingClientFactory):
        pass

    fuzzing.FuzzingClientProtocol = FuzzingClientProtocol  # looked up by name for each connection
    Client(SPEC)
else:
    class FuzzingServerProtocol(Border, fuzzing.FuzzingServerProtocol):
        pass

    class FuzzingServerFactory(Results, fuzzing.FuzzingServerFactory):
        protocol = FuzzingServerProtocol

    fuzzing.FuzzingServerFactory = FuzzingServerFactory
    fuzzing.startServer(SPEC, 0)
reactor.run()
