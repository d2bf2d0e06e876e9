"""port.py SDIST OUT - turns the Autobahn test suite 25.10.1, which is Python 2 code, into Python 3.

The suite's byte strings stay `str` and hold one byte per character (Latin-1). What goes to the wire and comes back
from it is converted in peer.py, at the one border between the suite's code and autobahn's. So the port itself is
small: the mechanical fixes of lib2to3, and the few texts below that mean something else in Python 3.
This file never changes what a case sends or expects.
"""
import pathlib
import re
import shutil
import sys

from fissix.refactor import RefactoringTool, get_fixers_from_package

# The part of the suite that is needed: the cases, and the two fuzzing peers.
MODULES = ["_version.py", "caseset.py", "fuzzing.py"]

# (file, text after lib2to3, replacement). Each must be found, or the port does not fit this version of the suite.
EDITS = [
    # Old integer division.
    ("case/case10_1_1.py", "len(self.payload) / self.p.autoFragmentSize", "len(self.payload) // self.p.autoFragmentSize"),
    # Encoded text is Latin-1 text here; Python 2 encoded surrogates, too.
    ("case/case6_x_x.py", '.encode("utf-8")', '.encode("utf-8", "surrogatepass").decode("latin-1")'),
    ("case/case6_x_x.py", "from autobahn.websocket.utf8validator import Utf8Validator", "from peer_text import Utf8Validator"),
    # A class never listed: it only has to be importable.
    ("case/case9_9_1.py", "from zope.interface import implements", "implements = lambda *interfaces: None"),
    # `object` before a class that is already new-style has no method resolution order.
    ("case/case6_x_x.py", "(object, Case, )", "(Case, )"),
    ("case/case7_7_X.py", "(object, Case, )", "(Case, )"),
    ("case/case7_9_X.py", "(object, Case, )", "(Case, )"),
    ("case/case9_7_X.py", "(object, Case, )", "(Case, )"),
    ("case/case12_x_x.py", "(object, Case, )", "(Case, )"),
]


def escaped(source):
    """Non-ASCII bytes of a Python 2 file as escapes (its byte strings keep their bytes), and Unix line ends."""
    return re.sub(rb"[\x80-\xff]", lambda match: b"\\x%02x" % match.group()[0], source).decode("ascii").replace("\r\n", "\n")


def edited(name, text):
    for file, old, new in EDITS:
        if file != name:
            continue
        after = text.replace(old, new)
        if after == text:
            sys.exit(f"port.py: {name} has no {old!r}: not the version that this port was written for")
        text = after
    # The hex digits of a Latin-1 string are a string again.
    return re.sub(r"^import binascii$", "import peer_text as binascii", text, flags=re.M).replace(
        "hashlib, binascii", "hashlib\nimport peer_text as binascii")


def main():
    source, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    package = out / "autobahntestsuite"
    shutil.rmtree(out, ignore_errors=True)
    (package / "case").mkdir(parents=True)
    shutil.copytree(source / "autobahntestsuite" / "testdata", package / "testdata")
    # lib2to3 looks at the neighbours of a file to tell relative imports, so all files are laid out first.
    names = MODULES + [f"case/{path.name}" for path in sorted((source / "autobahntestsuite" / "case").glob("*.py"))]
    for name in names:
        shutil.copy(source / "autobahntestsuite" / name, package / name)
    (package / "__init__.py").write_text("from ._version import __version__ as version\n")

    fixers = RefactoringTool(get_fixers_from_package("fissix.fixes"))
    for name in names:
        path = package / name
        text = escaped(path.read_bytes()).rstrip() + "\n"
        path.write_text(edited(name, str(fixers.refactor_string(text, str(path)))))


main()
