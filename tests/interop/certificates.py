"""Certificates for a test, made by the openssl command: files in a folder, by name.

`ca.pem` has issued `server` (localhost, 127.0.0.1, ::1), `other` (other.test), `newer` (as `server`, another one) and
`guest`, which a client shows. `stranger.pem` is a CA that has issued nothing.
"""
import pathlib
import subprocess

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
OWN = "DNS:localhost,IP:127.0.0.1,IP:::1"


def openssl(folder, *words):
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(words)}: {done.stderr}")
    return done.stdout


def make(folder):
    folder = pathlib.Path(folder)
    for name in ("ca", "stranger"):
        openssl(folder, "req", "-x509", *KEY, "-days", "30", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    for name, names in [("server", OWN), ("newer", OWN), ("other", "DNS:other.test"), ("guest", "DNS:guest.test")]:
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl(folder, "req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-days", "20", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", "names", "-out", f"{name}.pem")
    return folder


def shown(folder, *names):
    """The options of echo_server that have it show these, which are made if they are not there."""
    folder = pathlib.Path(folder)
    if not (folder / "ca.pem").exists():
        make(folder)
    return [word for name in names for word in ("--tls", str(folder / f"{name}.pem"), str(folder / f"{name}.key"))]
