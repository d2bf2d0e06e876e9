"""Latin-1 strings as the suite's cases use them: one character is one byte (see port.py).

Stands in for `binascii` and for autobahn's UTF-8 validator inside the ported cases. Knows nothing of connections.
"""
import binascii

from autobahn.websocket.utf8validator import Utf8Validator as BytesValidator


def to_bytes(value):
    """The bytes of a Latin-1 string; tuples and lists of them, too. Everything else is returned as it is."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, (tuple, list)):
        return type(value)(map(to_bytes, value))
    return value


def hexlify(value):
    return binascii.hexlify(to_bytes(value)).decode("ascii")


b2a_hex = hexlify


class Utf8Validator:
    def __init__(self):
        self.inner = BytesValidator()

    def reset(self):
        self.inner.reset()

    def validate(self, text):
        return self.inner.validate(to_bytes(text))
