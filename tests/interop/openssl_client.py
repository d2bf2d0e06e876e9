"""openssl_client.py SEALED ASKING SERVER FOLDER: `openssl s_client` as a client of dari's echo_server. SEALED and ASKING
are ports, the second one's server asks for a certificate; SERVER is the program, FOLDER has certificates.py's files."""
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from report import DEADLINE, expect, report

SEALED, ASKING, SERVER, FOLDER = sys.argv[1:]
REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def client(port, *words, name="localhost"):
    """(exit status, everything that s_client told): it asks for a page, and ends when the server does."""
    asks = ["-noservername"] if name is None else ["-servername", name]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", "ca.pem", *asks, "-ign_eof", *words]
    done = subprocess.run(command, cwd=FOLDER, input=REQUEST, capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, done.stdout + done.stderr


def has(told, *words):
    for word in words:
        if word not in told:
            raise AssertionError(f"{word!r} is not in {told!r}")


def handshake(version, cipher):
    status, told = client(SEALED, f"-tls{version}", "-alpn", "h2,http/1.1")
    has(told, f"New, TLSv{version.replace('_', '.')}, Cipher is {cipher}", "Verification: OK", "ALPN protocol: http/1.1", "CN = server")
    # The answer came whole, and its end was said: else this would be an error of s_client.
    has(told, "HTTP/1.1 426 ", "closed")
    expect(status, 0, told)
    if "unexpected eof" in told:
        raise AssertionError(told)


def resumes(version):
    with tempfile.NamedTemporaryFile() as session:
        has(client(SEALED, f"-tls{version}", "-sess_out", session.name)[1], "New, TLSv", "HTTP/1.1 426 ")
        has(client(SEALED, f"-tls{version}", "-sess_in", session.name)[1], "Reused, TLSv", "HTTP/1.1 426 ")


def names():
    for name, shown in [("other.test", "other"), ("localhost", "server"), ("nobody.test", "server"), (None, "server")]:
        has(client(SEALED, name=name)[1], f"CN = {shown}\n")


def too_old():
    told = client(SEALED, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")[1]
    has(told, " alert ", "Cipher is (NONE)")


def another_protocol():
    has(client(SEALED, "-alpn", "h2")[1], "alert no application protocol")


def guests(version):
    has(client(ASKING, f"-tls{version}", "-cert", "guest.pem", "-key", "guest.key")[1], "HTTP/1.1 426 ", "Acceptable client certificate CA names")
    for words in [(), ("-cert", "stranger.pem", "-key", "stranger.key")]:
        told = client(ASKING, f"-tls{version}", *words)[1]
        has(told, " alert ")
        if "HTTP/1.1" in told:
            raise AssertionError(told)


def reloads():
    with tempfile.TemporaryDirectory() as folder:
        cert, key = (pathlib.Path(folder, name) for name in ("cert.pem", "key.pem"))

        def put(name):
            shutil.copy(pathlib.Path(FOLDER, f"{name}.pem"), cert)
            shutil.copy(pathlib.Path(FOLDER, f"{name}.key"), key)

        def shows(name, *told):
            server.send_signal(signal.SIGHUP)
            has(server.stdout.readline(), *told)
            has(client(port)[1], f"CN = {name}\n")

        put("server")
        command = [SERVER, "127.0.0.1:0", "--tls", str(cert), str(key)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = server.stdout.readline().rsplit(":", 1)[1].strip()
                has(client(port)[1], "CN = server\n")
                put("newer")
                has(client(port)[1], "CN = server\n")
                shows("newer", "reloaded\n")
                put("server")
                key.write_text("nonsense")
                shows("newer", "not reloaded dari_tls_reload: ", str(key))
                cert.unlink()
                shows("newer", "not reloaded dari_tls_reload: ", str(cert), "No such file")
                put("server")
                shows("server", "reloaded\n")
            finally:
                server.terminate()
        expect(server.returncode, 0, "exit status")


report([
    ("TLS 1.3 is spoken, with ALPN, a chain that verifies, and an end that is said", lambda: handshake("1_3", "TLS_")),
    ("TLS 1.2 is spoken, with ALPN, a chain that verifies, and an end that is said", lambda: handshake("1_2", "ECDHE-")),
    ("a session of TLS 1.3 is resumed", lambda: resumes("1_3")),
    ("a session of TLS 1.2 is resumed", lambda: resumes("1_2")),
    ("each name is shown its certificate (SNI)", names),
    ("TLS 1.1 is refused", too_old),
    ("who wants another protocol is refused (ALPN)", another_protocol),
    ("clients show certificates in TLS 1.3", lambda: guests("1_3")),
    ("clients show certificates in TLS 1.2", lambda: guests("1_2")),
    ("SIGHUP reads certificates again, and a broken file changes nothing", reloads),
])
