"""The first step of every make target: a virtual environment with the pinned packages in it.

Runs under whatever Python the machine has, so it uses the standard library alone, and no syntax that
an old Python would choke on before it could say that it is too old.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on an interrupt ends this without a traceback

import hashlib
import os
import platform
import re
import subprocess
import sys
import time

if False:  # for type checkers; typing.TYPE_CHECKING costs an import
    from collections.abc import Mapping
    from typing import IO

OLDEST_PYTHON = (3, 11)
OLDEST_GLIBC = (2, 28)
ENVIRONMENT = ".venv"
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")


def unsupported() -> "str | None":
    """What is wrong with this machine, in one line, or None."""
    if sys.version_info < OLDEST_PYTHON:
        return "Python %d.%d or later is needed; %s is %s. Try: make PYTHON=python3.12 up" % (
            OLDEST_PYTHON + (sys.executable, platform.python_version())
        )
    machine = (platform.system(), platform.machine().lower())
    known = [(system, name) for system in ("Linux", "Darwin") for name in ("x86_64", "amd64", "arm64", "aarch64")]
    if machine not in known:
        return (
            "Linux or macOS on x86_64 or arm64 is needed, for which the packages have wheels; this is %s %s" % machine
        )
    if machine[0] == "Linux" and glibc() < OLDEST_GLIBC:
        return "glibc %d.%d or later is needed (not musl), for which the packages have wheels" % OLDEST_GLIBC
    try:
        import ensurepip  # noqa: F401  # what the module venv installs pip with; Debian packs it apart
        import venv  # noqa: F401
    except ImportError:
        return (
            "Python's venv module is missing. On Debian and Ubuntu: apt install python%d.%d-venv" % sys.version_info[:2]
        )
    return None


def glibc() -> "tuple[int, int]":
    """The version of glibc, or (0, 0) where there is another C library."""
    try:
        words = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        words = ""
    match = re.match(r"glibc (\d+)\.(\d+)", words)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def fingerprint(requirements: str) -> str:
    """A hash of the requirements, which include no other file."""
    with open(requirements, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def install(requirements: str) -> bool:
    """Create the environment where it is missing or broken, and install into it. True when it did."""
    stamp = os.path.join(ENVIRONMENT, requirements + ".done")
    wanted = fingerprint(requirements)
    if done(stamp, wanted):
        return False
    with alone() as lock:
        if done(stamp, wanted):
            return False
        if not works():
            run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], lock)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        run(pip + ["-r", requirements], lock)
        with open(stamp + ".new", "w") as file:
            file.write(wanted)
        os.replace(stamp + ".new", stamp)
        return True


def done(stamp: str, wanted: str) -> bool:
    """True when this is what was installed."""
    if not (os.path.exists(stamp) and os.path.exists(PYTHON)):
        return False
    with open(stamp) as file:
        return file.read() == wanted


def alone() -> "IO[str]":
    """Lock the environment, for one installation at a time. Closing the file frees it."""
    from fcntl import LOCK_EX, LOCK_NB, flock  # not every machine that is told that it is unsupported has it

    lock = open(ENVIRONMENT + ".lock", "w")  # noqa: SIM115  # the caller closes it
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except OSError:
        sys.stderr.write("waiting for another installation into %s\n" % ENVIRONMENT)
        flock(lock, LOCK_EX)
    return lock


def run(command: "list[str]", lock: "IO[str]") -> None:
    """Run a command that keeps the lock even if this program is killed."""
    subprocess.run(command, check=True, pass_fds=[lock.fileno()])


def works() -> bool:
    """True when the environment has a pip, and a Python that is not the machine's; a cut creation leaves such."""
    code = "import pip, sys; sys.exit(sys.prefix == sys.base_prefix)"
    try:
        return subprocess.run([PYTHON, "-c", code], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def server(environment: "Mapping[str, str]") -> str:
    """The server that the make target will use, in one line, as far as it is known before packages are."""
    if environment.get("DATABASE") != "env":
        user = ", run as nobody: other programs of that user can change it" if os.geteuid() == 0 else ""
        return "this folder's own PostgreSQL %s%s (DATABASE=env uses the one in PG*)" % (
            environment.get("PG") or "18",
            user,
        )
    names = ("PGSERVICE", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER")
    said = ["%s=%s" % (name, environment[name]) for name in names if name in environment]
    return "yours, of DATABASE=env: %s" % (" ".join(said) or "libpq's defaults")


def main(requirements: str) -> int:
    """Exit code 0 when the environment is ready, and 2 when it cannot be."""
    fault = unsupported()
    if fault:
        sys.stderr.write("error: %s\n" % fault)
        return 2
    started = time.time()
    try:
        installed = install(requirements)
    except subprocess.CalledProcessError as error:
        sys.stderr.write("error: %s failed; its own words are above\n" % " ".join(map(str, error.cmd)))
        return 2
    if installed:
        print("Packages   %s installed into %s in %.1f s" % (requirements, ENVIRONMENT, time.time() - started))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    if "--name-server" in sys.argv:
        print("Server     " + server(os.environ))
        sys.stdout.flush()
    sys.exit(main(sys.argv[1]))
