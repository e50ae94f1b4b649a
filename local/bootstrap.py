"""The first step of every make target: a virtual environment with the pinned packages in it.

Runs under whatever Python the machine has, so it uses the standard library alone, and no syntax that
an old Python would choke on before it could say that it is too old.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on an interrupt ends this without a traceback

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
INSTALLED = os.path.join(ENVIRONMENT, "installed.txt")  # the pins of the last installation, once it is complete


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


def pins(path: str) -> "set[str]":
    """The lines of a requirements file, which includes no other, without comments."""
    with open(path) as file:
        return {line.strip(" \\\n") for line in file if not line.lstrip().startswith("#")} - {""}


def install(requirements: str) -> bool:
    """Install what the environment does not have. True when it did.

    The environment is made anew unless the last installation into it came to its end.
    """
    wanted = pins(requirements)
    if is_installed(wanted):
        return False
    with alone() as lock:
        if is_installed(wanted):
            return False
        complete = os.path.exists(INSTALLED)
        if complete:
            os.remove(INSTALLED)
        if not (complete and works()):
            run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], lock)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        run(pip + ["-r", requirements], lock)
        with open(INSTALLED + ".new", "w") as file:
            file.write("\n".join(sorted(wanted)))
        os.replace(INSTALLED + ".new", INSTALLED)
        return True


def is_installed(wanted: "set[str]") -> bool:
    """True when the last installation had all of these pins, each under the same condition or under none."""
    try:
        present = pins(INSTALLED)
    except OSError:
        return False
    return os.path.exists(PYTHON) and all(pin in present or pin.split(" ;")[0] in present for pin in wanted)


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
        words = (" ".join(map(str, error.cmd)), ENVIRONMENT)
        sys.stderr.write("error: %s failed; its own words are above, and the next run makes %s anew\n" % words)
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
