"""What the Python peers share: checks that run one after the other, each with a deadline, told in one line.

Never sleeps: everything is waited for, and the deadline interrupts the waiting.
"""
import signal
import sys
import traceback

DEADLINE = 15  # seconds for one check
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20]
KOREAN = "안녕하세요, 웹소켓! 다리를 놓다 👋🏽"


def text(size):
    """`size` bytes of text, most of them Korean."""
    return "가" * (size // 3) + "x" * (size % 3)


def binary(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def expect(got, wanted, what="got"):
    if got != wanted:
        raise AssertionError(f"{what} {str(got)[:200]!r} instead of {str(wanted)[:200]!r}")


def report(checks):
    """Runs (name, function) pairs and exits: with 1 if one has failed."""
    def late(*_):
        raise TimeoutError(f"not done within {DEADLINE} s")

    signal.signal(signal.SIGALRM, late)
    failed = False
    for name, check in checks:
        signal.alarm(DEADLINE)
        try:
            check()
            print(f"ok {name}", flush=True)
        except Exception:
            failed = True
            signal.alarm(0)
            print(f"FAILED {name}: " + traceback.format_exc().replace("\n", "\n    "), flush=True)
        finally:
            signal.alarm(0)
    sys.exit(1 if failed else 0)
