"""Starts a program under test on a free loopback port, looks at its memory, and ends it by its own process id.

Never leaves a process behind: a Testee is used in a `with`, and the program dies with the test's own process.
"""
import ctypes
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "target" / "c"
PR_SET_PDEATHSIG = 1


class Testee:
    """target/c/NAME on 127.0.0.1:PORT. Words may hold {address}; without one the address comes first."""

    def __init__(self, name, *words, descriptors=None, command=None):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        command = command or [str(PROGRAMS / name), "{address}", *words]
        self.command = [word.replace("{address}", self.address).replace("{port}", str(self.port)) for word in command]
        self.descriptors = descriptors

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        limit = self.descriptors
        libc = ctypes.CDLL(None)

        def prepare():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=prepare)
        self.pid = self.process.pid
        end = time.monotonic() + 20
        while True:  # polled: another program's listening sends no event
            try:
                socket.create_connection(("127.0.0.1", self.port), 2).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.__exit__()
                    raise Failure(f"{self.command[0]} does not listen on {self.address}:\n{self.output()}") from None
                time.sleep(0.01)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def alive(self):
        return self.process.poll() is None

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def resident(self):
        """Resident bytes, exact: VmRSS alone is counted in batches per thread."""
        return resident(self.pid)

    def cpu(self):
        """Seconds of CPU time used so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """What a check found wrong, in words."""


def resident(pid):
    return proc_bytes(pid, "smaps_rollup", "Rss")


def proc_bytes(pid, file, field):
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M).group(1)) * 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_descriptor_limit():
    """The soft limit to the hard one; the soft limit then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
