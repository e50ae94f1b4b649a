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
import tempfile
import time

if False:  # for type checkers; typing is slow to import
    from collections.abc import Callable, Mapping
    from typing import IO

OLDEST_PYTHON = (3, 11)
OLDEST_GLIBC = (2, 28)
ENVIRONMENT = ".venv"
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")
INSTALLED = os.path.join(ENVIRONMENT, "installed.txt")  # the pins of the last complete installation
LOG = os.path.join(ENVIRONMENT, "install.log")  # pip's own output
MAJORS = ("18", "16")  # the versions of PostgreSQL in ``binaries``; the first is the default
NO_NETWORK = re.compile("connection broken by|Max retries exceeded|Could not fetch URL")
# pip may retry and then fail for another reason, such as a wrong hash.
NOTHING_FETCHED = re.compile("ERROR: Could not (find a version|install packages due to an OSError: HTTP)")
COLLECTED = re.compile("^(Collecting|Processing) ", re.MULTILINE)  # a package at an index, or in a folder
DISK_FULL = "No space left on device"


class InstallationError(Exception):
    """The packages cannot be installed. The text is the message and, in a second line, the remedy."""


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


def install(*requirements: str, show: "Callable[[str], None]" = lambda _: None) -> bool:
    """Install the missing packages of all files. Returns False if there are none. ``show`` gets the progress.

    Creates the environment anew unless the last installation was completed.

    Raises InstallationError if there is no network or the disk is full, and CalledProcessError, with the output
    printed, if a command fails for another reason.
    """
    required = set().union(*map(pins, requirements))
    if is_installed(required):
        return False
    with installation_lock() as lock:
        if is_installed(required):
            return False
        show("")
        complete = os.path.exists(INSTALLED)
        kept = pins(INSTALLED) if complete else set()
        if complete:
            os.remove(INSTALLED)
        if not (complete and has_pip()):
            kept = set()
            with tempfile.TemporaryFile("w+") as output:
                run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], lock, output, show)
        pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "--progress-bar=off"]
        with open(LOG, "w+") as output:
            run(pip + ["--requirement=" + file for file in requirements], lock, output, show)
        with open(INSTALLED + ".new", "w") as file:
            file.write("\n".join(sorted(required | without_replaced(kept, required))))
        os.replace(INSTALLED + ".new", INSTALLED)
        return True


def without_replaced(kept: "set[str]", required: "set[str]") -> "set[str]":
    """Return the earlier pins of packages that ``required`` does not pin: they are still installed."""
    replaced = {pin.split("==")[0] for pin in required}
    return {pin for pin in kept if pin.split("==")[0] not in replaced}


def is_installed(required: "set[str]") -> bool:
    """Return True if the last installation had each of these pins, under the same marker or under none."""
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


def run(command: "list[str]", lock: "IO[str]", output: "IO[str]", show: "Callable[[str], None]") -> None:
    """Run a command, whose output goes to a file, and which keeps the lock even if this program is killed.

    Raises InstallationError or CalledProcessError as ``install`` does.
    """
    process = subprocess.Popen(command, pass_fds=[lock.fileno()], stdout=output, stderr=subprocess.STDOUT)
    while True:
        try:
            code = process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            show(": %d found" % len(COLLECTED.findall(text_of(output))))
    if code:
        if sys.stdout.isatty():
            print("")  # the progress has no end of line
        refuse_failure(text_of(output))
        raise subprocess.CalledProcessError(code, command)


def text_of(output: "IO[str]") -> str:
    """Return the text of a file to which another process writes, and leave the position, which both share."""
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), size, 0).decode(errors="replace")


def refuse_failure(text: str) -> None:
    """Raise InstallationError if the output of a command says no network or a full disk; else print its errors."""
    if NO_NETWORK.search(text) and NOTHING_FETCHED.search(text):
        raise InstallationError(
            "no network: pip cannot reach its package index (log: %s)\n"
            "Connect, or set PIP_INDEX_URL or https_proxy, and run the same command again" % LOG
        )
    if DISK_FULL in text:
        raise InstallationError("the disk of %s is full: %s" % (os.path.abspath(ENVIRONMENT), DISK_FULL))
    sys.stderr.write(text[max(text.find("ERROR: "), 0) :])


def has_pip() -> bool:
    """Return True if the environment has pip and its own Python; an interrupted creation may leave the machine's."""
    code = "import pip, sys; sys.exit(sys.prefix == sys.base_prefix)"
    try:
        return subprocess.run([PYTHON, "-c", code], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def server(environment: "Mapping[str, str]") -> str:
    """Return which server the make target will use, by the environment variables alone; for root in two lines."""
    if environment.get("DATABASE") != "env":
        user = "\n           run as nobody: other programs of that user can change it" if os.geteuid() == 0 else ""
        return "this folder's own PostgreSQL %s (DATABASE=env uses the one in PG*)%s" % (
            environment.get("PG") or MAJORS[0],
            user,
        )
    names = ("PGSERVICE", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER")
    settings = ["%s=%s" % (name, environment[name]) for name in names if name in environment]
    return "yours, of DATABASE=env: %s" % (" ".join(settings) or "libpq's defaults")


def progress(requirements: str) -> "Callable[[str], None]":
    """Return a function that shows that the installation is going on, in the same line on a terminal."""
    started = time.time()
    first = "Packages   installing %s" % requirements
    if len(first) < 50:  # the line has at most 80 columns
        first += " into %s" % ENVIRONMENT

    def show(text: str) -> None:
        if sys.stdout.isatty():
            sys.stdout.write("\r%-79s" % ("%s%s, %d s" % (first, text, time.time() - started)))
        elif not text:
            sys.stdout.write("%s (log: %s)\n" % (first, LOG))
        sys.stdout.flush()

    return show


def main(*requirements: str) -> int:
    """Install the packages; the last file is named. Returns the exit code: 0, or 2 with the error printed."""
    fault = unsupported()
    if fault:
        return fail(fault)
    started = time.time()
    try:
        installed = install(*requirements, show=progress(requirements[-1]))
    except InstallationError as error:
        return fail(str(error))
    except subprocess.CalledProcessError as error:
        names = (os.path.basename(error.cmd[0]), error.cmd[2], ENVIRONMENT)
        return fail("%s -m %s failed, see above; the next run makes %s anew" % names)
    except OSError as error:
        return fail("%s: %s" % (error.filename or os.path.abspath(ENVIRONMENT), error.strerror))
    if installed:
        end = "\r%-79s\n" if sys.stdout.isatty() else "%s\n"
        done = "Packages   %s installed into %s in %.1f s" % (requirements[-1], ENVIRONMENT, time.time() - started)
        sys.stdout.write(end % done)
        sys.stdout.flush()
    return 0


def fail(error: str) -> int:
    """Print an error, whose second line is the remedy, and return the exit code."""
    sys.stderr.write("error: %s\n" % error.replace("\n", "\n  "))
    return 2


def interrupted(*_: object) -> None:
    """End at once: the terminal has sent the interrupt to the commands, too, whose tracebacks are in the log."""
    os.write(2, b"\ninterrupted. Run the same command again.\n")
    os._exit(130)


def name_server() -> int:
    """Print which server will be used. Returns 0, or 2 if PG names a version that make does not bring."""
    major = os.environ.get("PG") or MAJORS[0]
    if os.environ.get("DATABASE") != "env" and major not in MAJORS:
        return fail("PG=%s: make brings PostgreSQL %s\nRun: make up PG=%s" % (major, " and ".join(MAJORS), MAJORS[0]))
    print("Server     " + server(os.environ))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)
    files = [word for word in sys.argv[1:] if not word.startswith("--")]
    sys.exit((name_server() if "--name-server" in sys.argv else 0) or main(*files))
