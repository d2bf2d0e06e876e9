"""Installs the suite into target/autobahn: a virtual environment with pinned packages, and the ported suite.

Does nothing when it is there already, made by the same files and the same Python. Touches nothing outside of its folder.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
SUITE = "autobahntestsuite"
VERSION = "25.10.1"
OLDEST = (3, 9)
BUILD = "setuptools==75.8.2"  # the last packages here to come as setup.py need one that old


def install(folder):
    """The command that runs a fuzzing peer (peer.py) in `folder`, installing it first where needed."""
    if sys.version_info < OLDEST:
        sys.exit(f"autobahn: Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]}: "
                 "apt-get install python3 python3-venv, or run this script with another python3")
    made_by = hashlib.sha256(sys.version.encode())
    for name in ("install.py", "port.py", "requirements.txt"):
        made_by.update((HERE / name).read_bytes())
    python = folder / "venv" / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != made_by.hexdigest():
        print(f"autobahn: installing the suite {VERSION} into {os.path.relpath(folder)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        environment(folder, python)
        port(folder, python)
        stamp.write_text(made_by.hexdigest())
    paths = os.pathsep.join([str(folder / "suite"), str(HERE)])
    return ["env", f"PYTHONPATH={paths}", str(python), "-W", "ignore", str(HERE / "peer.py")]


def environment(folder, python):
    made = subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], capture_output=True, text=True)
    if made.returncode != 0:
        sys.exit("autobahn: this Python cannot make a virtual environment: apt-get install python3-venv\n"
                 + made.stdout + made.stderr)
    pip(python, "install", BUILD, "wheel==0.45.1")
    wanted = (HERE / "requirements.txt").read_text().splitlines()
    accelerator = [line for line in wanted if line.startswith("wsaccel")]
    rest = [line for line in wanted if line and not line.startswith("#") and line not in accelerator]
    pip(python, "install", "--no-build-isolation", "--no-deps", *rest)
    if subprocess.run([str(python), "-m", "pip", "-q", "install", "--no-deps", *accelerator], capture_output=True).returncode:
        print("autobahn: wsaccel could not be built here (it needs gcc and Python.h: apt-get install gcc python3-dev); "
              "the suite runs without it, slowly")


def port(folder, python):
    pip(python, "download", "--no-build-isolation", "--no-deps", "--no-binary", ":all:", "-d", str(folder), f"{SUITE}=={VERSION}")
    archive = folder / f"{SUITE}-{VERSION}.tar.gz"
    with tarfile.open(archive) as tar:
        tar.extractall(folder)  # pip has checked what it downloaded
    source = str(folder / f"{SUITE}-{VERSION}")
    done = subprocess.run([str(python), "-W", "ignore", str(HERE / "port.py"), source, str(folder / "suite")])
    if done.returncode != 0:
        sys.exit("autobahn: the suite could not be ported")


def pip(python, *arguments):
    done = subprocess.run([str(python), "-m", "pip", "-q", "--disable-pip-version-check", *arguments])
    if done.returncode != 0:
        sys.exit(f"autobahn: `pip {' '.join(arguments)}` did not work: is the Python package index reachable?")
