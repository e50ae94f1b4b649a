"""Install the pinned packages into .venv: the first step of every make target.

Runs with the machine's Python, so it uses the standard library alone, and no syntax that an old Python cannot parse:
it could not print that a later one is needed.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt prints no traceback

import os
import platform
import re
import subprocess
import sys
import time

if False:  # for type checkers; typing is slow to import
    from collections.abc import Mapping
    from typing import IO

OLDEST_PYTHON = (3, 11)
OLDEST_GLIBC = (2, 28)
ENVIRONMENT = ".venv"
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")
INSTALLED = os.path.join(ENVIRONMENT, "installed.txt")  # the pins of the last complete installation


def unsupported() -> "str | None":
    """Return in one line why the packages cannot be installed on this machine, or None if they can."""
    if sys.version_info < OLDEST_PYTHON:
        return "Python %d.%d or later is needed; %s is %s. Try: make PYTHON=python3.12 up" % (
            OLDEST_PYTHON + (sys.executable, platform.python_version())
        )
    machine = (platform.system(), platform.machine().lower())
    supported = [(system, name) for system in ("Linux", "Darwin") for name in ("x86_64", "amd64", "arm64", "aarch64")]
    if machine not in supported:
        return (
            "Linux or macOS on x86_64 or arm64 is needed, for which the packages have wheels; this is %s %s" % machine
        )
    if machine[0] == "Linux" and glibc() < OLDEST_GLIBC:
        return "glibc %d.%d or later is needed (not musl), for which the packages have wheels" % OLDEST_GLIBC
    try:
        import ensurepip  # noqa: F401  # venv installs pip with it; Debian has it in a package of its own
        import venv  # noqa: F401
    except ImportError:
        return (
            "Python's venv module is missing. On Debian and Ubuntu: apt install python%d.%d-venv" % sys.version_info[:2]
        )
    return None


def glibc() -> "tuple[int, int]":
    """Return the version of glibc, or (0, 0) if the C library is another."""
    try:
        words = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        words = ""
    match = re.match(r"glibc (\d+)\.(\d+)", words)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def pins(path: str) -> "set[str]":
    """Return the lines of a requirements file, without comments. Files that it includes are not read."""
    with open(path) as file:
        return {line.strip(" \\\n") for line in file if not line.lstrip().startswith("#")} - {""}


def install(requirements: str) -> bool:
    """Install the missing packages. Returns False if there are none.

    Creates the environment anew unless the last installation was completed.
    """
    required = pins(requirements)
    if is_installed(required):
        return False
    with installation_lock() as lock:
        if is_installed(required):
            return False
        complete = os.path.exists(INSTALLED)
        if complete:
            os.remove(INSTALLED)
        if not (complete and has_pip()):
            run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], lock)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        run(pip + ["-r", requirements], lock)
        with open(INSTALLED + ".new", "w") as file:
            file.write("\n".join(sorted(required)))
        os.replace(INSTALLED + ".new", INSTALLED)
        return True


def is_installed(required: "set[str]") -> bool:
    """Return True if the last installation had each of these pins, with the same condition or with none."""
    try:
        present = pins(INSTALLED)
    except OSError:
        return False
    return os.path.exists(PYTHON) and all(pin in present or pin.split(" ;")[0] in present for pin in required)


def installation_lock() -> "IO[str]":
    """Wait for other installations, and lock the environment. Closing the returned file unlocks it."""
    from fcntl import LOCK_EX, LOCK_NB, flock  # missing on Windows, which ``unsupported`` reports first

    lock = open(ENVIRONMENT + ".lock", "w")  # noqa: SIM115  # the caller closes it
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except OSError:
        sys.stderr.write("waiting for another installation into %s\n" % ENVIRONMENT)
        flock(lock, LOCK_EX)
    return lock


def run(command: "list[str]", lock: "IO[str]") -> None:
    """Run a command, which keeps the lock even if this program is killed."""
    subprocess.run(command, check=True, pass_fds=[lock.fileno()])


def has_pip() -> bool:
    """Return True if the environment has pip and its own Python; an interrupted creation may leave the machine's."""
    code = "import pip, sys; sys.exit(sys.prefix == sys.base_prefix)"
    try:
        return subprocess.run([PYTHON, "-c", code], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def server(environment: "Mapping[str, str]") -> str:
    """Return in one line which server the make target will use, by the environment variables alone."""
    if environment.get("DATABASE") != "env":
        user = ", run as nobody: other programs of that user can change it" if os.geteuid() == 0 else ""
        return "this folder's own PostgreSQL %s%s (DATABASE=env uses the one in PG*)" % (
            environment.get("PG") or "18",
            user,
        )
    names = ("PGSERVICE", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER")
    settings = ["%s=%s" % (name, environment[name]) for name in names if name in environment]
    return "yours, of DATABASE=env: %s" % (" ".join(settings) or "libpq's defaults")


def main(requirements: str) -> int:
    """Install the packages. Returns the exit code: 0, or 2 with the error printed."""
    fault = unsupported()
    if fault:
        sys.stderr.write("error: %s\n" % fault)
        return 2
    started = time.time()
    try:
        installed = install(requirements)
    except subprocess.CalledProcessError as error:
        names = (" ".join(map(str, error.cmd)), ENVIRONMENT)
        sys.stderr.write("error: %s failed, see above; the next run makes %s anew\n" % names)
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
