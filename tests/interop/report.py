"""What the Python peers share: checks that run one after the other, each with a deadline, told in one line.

Never sleeps: everything is waited for, and the deadline interrupts the waiting.
"""
import functools
import random
import signal
import sys
import traceback

DEADLINE = 20  # seconds for one check
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20]
KOREAN = "안녕하세요, 웹소켓! 다리를 놓다 👋🏽"


def text(size):
    """`size` bytes of text, most of it Korean."""
    words = once_more("text")[:size].decode(errors="ignore")
    return words + "x" * (size - len(words.encode()))


def binary(size):
    """`size` bytes: noise that comes again, near and far, and bytes in order between."""
    return once_more("binary")[:size]


@functools.cache
def once_more(kind):
    """16 MiB that compress to less than half in any window: a MiB, of which the rest is repetitions."""
    chance = random.Random(kind)
    if kind == "text":
        words = "다리 메시지 연결 서버 압축 바이트 웹소켓 안녕하세요 bridge 2026".split()
        block = " ".join(chance.choices(words, k=1 << 17)).encode()
        block = block[:(1 << 20) - 1].decode(errors="ignore").encode() + b"\n"
    else:
        noise = [chance.randbytes(1024) for _ in range(40)]
        block = b"".join(chance.choice(noise) + bytes(range(128)) * 8 for _ in range(512))
    return block * (SIZES[-1] // len(block) + 1)


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
