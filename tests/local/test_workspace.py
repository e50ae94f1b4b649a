"""The parts of make up that need neither a server nor an engine."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local import bootstrap, consent, options, stack_file
from local.options import Options
from local.server import Server
from local.workspace import Workspace
from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.postgres.auth import OWN_SERVER


def test_the_first_choice_of_each_option_is_the_default() -> None:
    assert "PostgreSQL 18" in bootstrap.server({}), "the one place that cannot import the default"
    assert options.read({}) == Options(major=18, own_server=True, engine="auto", seed=True, yes=False)
    assert options.read({"PG": "16", "DATABASE": "env", "ENGINE": "pulumi"}).major == 16


def test_a_stray_value_is_refused_with_all_the_others() -> None:
    """One error names all invalid values; DATABASE is a name that other programs use as well."""
    with pytest.raises(InputError) as caught:
        options.read({"DATABASE": "mydb", "PG": "15"})
    assert "DATABASE must be one of own, env; got 'mydb'" in str(caught.value)
    assert "PG must be one of 18, 16; got '15'" in str(caught.value)


def test_a_secret_file_is_private_from_the_start_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    first = files.secret(path)
    assert len(first) >= 32
    assert files.secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["passphrase"]


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("sys.version_info", (3, 10, 2), "Python 3.11 or later is needed"),
        ("platform.system", lambda: "Windows", "Linux or macOS"),
        ("platform.machine", lambda: "riscv64", "x86_64 or arm64"),
        ("glibc", lambda: (2, 27), "glibc 2.28 or later"),
        ("glibc", lambda: (0, 0), "not musl"),
    ],
)
def test_an_unsupported_machine_gets_one_clear_line(
    fact: str, value: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(f"local.bootstrap.{fact}", value)
    error = bootstrap.unsupported()
    assert error is not None
    assert words in error
    assert "\n" not in error


def test_a_python_without_venv_gets_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    error = bootstrap.unsupported()
    assert error is not None
    assert "apt install python3" in error


def test_the_bootstrap_reads_as_old_python() -> None:
    """An old Python can parse the bootstrap, which then says that Python is too old."""
    text = Path(bootstrap.__file__).read_text(encoding="utf-8")
    import ast

    ast.parse(text, feature_version=(3, 6))
    assert "import annotations" not in text


def test_the_first_line_names_the_server() -> None:
    assert "PostgreSQL 16" in bootstrap.server({"PG": "16", "PGHOST": "prod"})
    assert "prod" not in bootstrap.server({"PGHOST": "prod"})
    assert "PGHOST=prod" in bootstrap.server({"PGHOST": "prod", "DATABASE": "env"})


def test_the_first_line_tells_root_who_runs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for user, expected in ((0, True), (1000, False)):
        monkeypatch.setattr("os.geteuid", lambda user=user: user)
        assert ("nobody" in bootstrap.server({})) == expected
        assert "nobody" not in bootstrap.server({"DATABASE": "env"})
        assert all(len("Server     " + line) <= 80 for line in bootstrap.server({}).splitlines())


def test_the_stack_file_is_copied_and_what_was_set_in_the_copy_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's salt and keys that were set in the copy survive an update of the copy."""
    monkeypatch.setattr("local.workspace.ROOT", tmp_path)
    original = tmp_path / "Pulumi.dev.yaml"
    (tmp_path / "Pulumi.yaml").write_text("name: pgvector-seed\n")
    original.write_text("config:\n  x:a: 1\n  x:b: 1\n")
    workspace = Workspace(tmp_path / "18", server=None)
    workspace.prepare()
    workspace.config_file.write_text("encryptionsalt: s\nconfig:\n  x:a: 1\n  x:b: 2\n  x:c: 3\n")
    workspace.prepare()
    assert yaml.safe_load(workspace.config_file.read_text())["config"] == {"x:a": 1, "x:b": 2, "x:c": 3}
    original.write_text("config:\n  x:a: 5\n  x:b: 1\n  x:d: 4\n")
    workspace.prepare()
    copied = yaml.safe_load(workspace.config_file.read_text())
    assert copied == {"encryptionsalt": "s", "config": {"x:a": 5, "x:b": 2, "x:c": 3, "x:d": 4}}
    assert workspace.config_file.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Return a workspace with its own server, of a project whose stack file is empty."""
    monkeypatch.setattr("local.workspace.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: pgvector-seed\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n")
    return Workspace(tmp_path / "18", Server(tmp_path / "18", 18))


def test_a_copy_that_a_power_cut_emptied_is_made_again(own_workspace: Workspace) -> None:
    """An empty copy is replaced: without it, onDestroy would have another value than the repository's."""
    own_workspace.prepare()
    complete = own_workspace.config_file.read_text()
    own_workspace.config_file.write_text("")
    own_workspace.prepare()
    assert own_workspace.config_file.read_text() == complete


def test_a_key_without_a_prefix_is_the_projects(tmp_path: Path) -> None:
    """Regression: stand-alone, such a key had no effect, and its default took its place without a word."""
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text("config: {onDestroy: revert, 'aws:region': x}")
    assert stack_file.load(path)["config"] == {"pgvector-seed:onDestroy": "revert", "aws:region": "x"}


def test_a_stack_file_that_is_not_yaml_is_named(own_workspace: Workspace) -> None:
    own_workspace.prepare()
    own_workspace.config_file.write_text("config: [")
    with pytest.raises(InputError, match=r"Pulumi\.dev\.yaml is not YAML"):
        own_workspace.prepare()
    own_workspace.config_file.write_text("config: foo")
    with pytest.raises(InputError, match="not a map"):
        own_workspace.prepare()


# A thousand million values in a few lines.
BOMB = b"config:\n  a0: &a0 [x]\n" + b"".join(
    b"  a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 8)) for level in range(1, 11)
)
BAD = {
    BOMB: "has more than 100,000 values, by its aliases",
    b"config:\n  pgvector-seed:schema: caf\xe9\n": "is not UTF-8",
    b"- config\n": "is not a map but a list",
    b"config": "is not a map but a str",
    b"config: &a\n  pgvector-seed:tables: *a\n": "is recursive",
    b"config:\n  x: &a [*a]\n": "is recursive",
    b"config:\n  x: " + b"[" * 3000: "is nested too deeply",
    b"config:\n  1: x\n": "has a key that is no text: 1",
    b"config: {a: 1\n": "is not YAML",
    b"config: {a: !!timestamp x}\n": "has a value that is not of its tag",
    b"config: {a: !!bool x}\n": "has a value that is not of its tag",
    b"config: {a: !!int ''}\n": "has a value that is not of its tag",
    b"config: {x: &a !!omap [k: *a]}\n": "is recursive",
    b"config: {x: " + b"[" * 400 + b"]" * 400 + b"}": "is nested too deeply",
}


@pytest.mark.parametrize("text", BAD, ids=list(BAD.values()))
def test_a_bad_stack_file_is_refused_and_not_copied(own_workspace: Workspace, tmp_path: Path, text: bytes) -> None:
    """Regression: it ended in a traceback, or was ignored; a recursive one was copied and broke every later run."""
    original = tmp_path / "Pulumi.dev.yaml"
    good = original.read_bytes()
    for copied in (False, True):
        original.write_bytes(text)
        with pytest.raises(InputError) as caught:
            own_workspace.prepare()
        assert caught.value.message.startswith(f"Pulumi.dev.yaml {BAD[text]}")
        assert "\n" not in caught.value.message
        assert own_workspace.config_file.exists() == copied
        assert own_workspace.folder.exists() == copied
        original.write_bytes(good)
        own_workspace.prepare()


@pytest.mark.parametrize("name", ["original.yaml", "Pulumi.dev.yaml"])
def test_a_bad_copy_is_named(own_workspace: Workspace, name: str) -> None:
    """The copy of a recursive file, which an earlier version made, is named with the command that removes it."""
    own_workspace.prepare()
    copy = own_workspace.folder / name
    copy.write_text("config: &a\n  pgvector-seed:tables: *a\n")
    with pytest.raises(InputError, match="is recursive") as caught:
        own_workspace.prepare()
    assert caught.value.message.startswith(f"18/{name}")
    subprocess.run(["sh", "-c", caught.value.remedy.removeprefix("Fix the file, or start anew: ")], check=True)
    own_workspace.prepare()


def test_a_stack_that_names_a_server_is_refused_beside_the_own_one(own_workspace: Workspace, tmp_path: Path) -> None:
    """A stack with a host is refused on make's server, as it would write to another one."""
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  pgvector-seed:host: db.example.com\n")
    with pytest.raises(InputError, match="names a server"):
        own_workspace.prepare()


def test_what_make_env_printed_is_not_the_callers_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of another checkout's make env are ignored, whose state and tables they name."""
    for name, value in Workspace(tmp_path / "other", server=None).printable().items():
        monkeypatch.setenv(name, value)
    workspace = Workspace(tmp_path / "this", server=None)
    assert str(tmp_path / "this") in workspace.environment()["PULUMI_BACKEND_URL"]
    assert str(tmp_path / "this") in workspace.environment()["PULUMI_CONFIG_PASSPHRASE_FILE"]


def test_a_backend_in_the_shell_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, server=None)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
    assert workspace.settings()["PULUMI_BACKEND_URL"].startswith("file:///")
    assert "PULUMI_CONFIG_PASSPHRASE" not in workspace.environment()
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "pul-x")
    assert "PULUMI_BACKEND_URL" not in workspace.settings()


def test_nothing_of_the_callers_connection_reaches_the_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PGHOST that is left in the shell is not used."""
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPASSWORD", "PGOPTIONS"):
        monkeypatch.setenv(name, "stray")
    workspace = Workspace(tmp_path, Server(tmp_path, 18))
    assert "stray" not in workspace.environment().values()


def test_make_s_own_server_is_marked_and_another_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only make's server is held to SCRAM, and not by PGREQUIREAUTH, which the provider rejects."""
    (tmp_path / "port").write_text("40011")
    environment = Workspace(tmp_path, Server(tmp_path, 18)).environment()
    assert environment[OWN_SERVER] == "127.0.0.1:40011"
    assert "PGREQUIREAUTH" not in environment
    monkeypatch.setenv("PGHOST", "db")
    assert OWN_SERVER not in Workspace(tmp_path, server=None).environment()


def test_a_service_is_written_out_for_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulumi runs without PGSERVICE, which the provider would prefer to its own host."""
    file = tmp_path / "services"
    file.write_text("[there]\nhost=db.example\nport=7777\ndbname=app\nuser=al\npassword=s3cret\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGSERVICE", "there")
    workspace = Workspace(tmp_path, server=None)
    environment = workspace.environment()
    assert not {"PGSERVICE", "PGCHANNELBINDING", "PGSSLCERTMODE", "PGGSSENCMODE"} & environment.keys()
    assert [environment[name] for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD")] == [
        "db.example",
        "7777",
        "app",
        "al",
        "s3cret",
    ]
    with pytest.raises(InputError, match="PGPASSFILE"):
        workspace.printable()


def test_a_password_in_the_shell_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output of make env neither contains nor unsets a password of the caller."""
    monkeypatch.setenv("PGHOST", "db")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    workspace = Workspace(tmp_path, server=None)
    assert "PGPASSWORD" not in workspace.strays()
    assert "s3cret" not in workspace.printable().values()
    assert workspace.environment()["PGPASSWORD"] == "s3cret"


def test_each_server_of_the_environment_has_a_workspace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers have two states, so that destroying one keeps the other."""
    folders = set()
    for host in ("a", "b"):
        monkeypatch.setenv("PGHOST", host)
        folders.add(Workspace.of(options.read({"DATABASE": "env"})).folder)
    assert len(folders) == 2


SOMEWHERE = {"host": "db", "port": 5432, "dbname": "app"}


def test_destroy_wants_both_to_say_the_same() -> None:
    """Destroy is refused if the configuration differs from that of the last up, which it obeys."""
    consent.require("retain", "retain", SOMEWHERE, agreed=True)
    with pytest.raises(RefusedError, match="the last up, which said revert"):
        consent.require("revert", "retain", SOMEWHERE, agreed=True)


def test_destroy_without_a_terminal_wants_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError, match=r"on db:5432/app\?.*YES=1"):
        consent.require("revert", "revert", SOMEWHERE, agreed=False)


@pytest.mark.parametrize("module", ["seed", "local"])
def test_bare_commands_print_help(module: str) -> None:
    run = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "Usage:" in run.stdout


def test_help_does_not_wait_for_the_heavy_imports() -> None:
    """The driver and numpy are imported only in the commands that use them."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "seed", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not imported & {"numpy", "psycopg", "pulumi"}
