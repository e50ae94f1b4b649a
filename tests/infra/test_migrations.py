"""The dynamic provider as the engine uses it: a process with a gRPC interface."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dill
import grpc
import psycopg
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from psycopg.conninfo import make_conninfo
from pulumi.dynamic import CreateResult, ResourceProvider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.server import Server
from local.workspace import ROOT
from pgvector_seed.infra.migrations import MigrationsProvider
from pgvector_seed.migrate.adopt import repair
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.files import checksums, down_checksums, load
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import LOCK_KEY
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.conninfo import as_role
from tests.conftest import WAITING, ask, declare, name_of, until
from tests.migrate.helpers import run
from tests.roles import new_names, quoted


class AnothersProvider(ResourceProvider):
    """A faulty dynamic provider of the program that uses the component."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["missing"])


PICKLED = base64.b64encode(dill.dumps(MigrationsProvider())).decode()
URN = "urn:pulumi:dev::pgvector-seed::pulumi-python:dynamic/pgvector_seed:Migrations::m"
ASLEEP = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


class Provider:
    """A client of the dynamic provider, which makes the engine's calls with plain dicts."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)
        self.stub.Configure(provider_pb2.ConfigureRequest())

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> list[str]:
        answer = self.stub.Check(provider_pb2.CheckRequest(urn=URN, olds=struct(olds), news=struct(news)))
        return [failure.reason for failure in answer.failures]

    def diff(self, olds: dict[str, Any], news: dict[str, Any]) -> bool:
        answer = self.stub.Diff(provider_pb2.DiffRequest(id="x", urn=URN, olds=struct(olds), news=struct(news)))
        assert not answer.replaces
        return bool(answer.changes == provider_pb2.DiffResponse.DIFF_SOME)

    def create(self, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self.stub.Create(provider_pb2.CreateRequest(urn=URN, properties=struct(news)))
        return answer.id, plain(answer.properties)

    def update(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(id=olds.get("ledger", "x"), urn=URN, olds=struct(olds), news=struct(news))
        return plain(self.stub.Update(request).properties)

    def read(self, state: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self.stub.Read(
            provider_pb2.ReadRequest(id=state.get("ledger", "x"), urn=URN, properties=struct(state))
        )
        return answer.id, plain(answer.properties)

    def delete(self, state: dict[str, Any]) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(id=state.get("ledger", "x"), urn=URN, properties=struct(state)))


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict({**values, "__provider": PICKLED} if values else {}, struct_pb2.Struct())


def plain(values: struct_pb2.Struct) -> dict[str, Any]:
    return dict(json_format.MessageToDict(values))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """Yield the provider's process, started as the engine starts it."""
    command = [sys.executable, "-u", "-m", "pulumi.dynamic"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        yield started
        started.kill()


@pytest.fixture
def provider(process: subprocess.Popen[str]) -> Iterator[Provider]:
    """Yield a client of the provider's process."""
    assert process.stdout is not None
    client = Provider(int(process.stdout.readline()))
    yield client
    client.channel.close()


def declaration(on_destroy: str = "revert", dbname: str = "app") -> str:
    return json.dumps(as_data(declare(on_destroy=on_destroy, connection={"dbname": dbname})))


def inputs(conninfo: str, folder: Path, *, allow_down: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "conninfo": conninfo,
        "directory": str(folder),
        "migrations": checksums(load(folder)),
        "downs": down_checksums(load(folder)),
        "declaration": declaration(),
        "options": json.dumps({"limits": {"lock_timeout": "5s"}, "allow_down": allow_down}),
        **changes,
    }


def test_the_pickle_is_a_name_and_nothing_else() -> None:
    """The state holds no code, which a later delete would run in its old version."""
    assert len(dill.dumps(MigrationsProvider())) < 100


def test_the_whole_life_of_the_resource(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a (v vector(3))")
    (folder / "0001_a.down.sql").write_text("DROP TABLE a")
    news = inputs(database, folder)
    assert provider.check({}, news) == []
    id_, state = provider.create(news)
    assert provider.create(news) == (id_, state), "a second create finds all in place"
    assert state["applied"] == news["migrations"]
    assert state["contract"]["tables"][0]["name"] == "public.a"
    assert not provider.diff(state, news)
    assert provider.read(state) == (id_, state)

    (folder / "0002_b.up.sql").write_text("CREATE TABLE b ()")
    (folder / "0002_b.down.sql").write_text("DROP TABLE b")
    more = inputs(database, folder)
    assert provider.check(news, more) == []
    assert provider.diff(state, more)
    state = provider.update(state, more)
    assert sorted(state["applied"]) == ["0001_a", "0002_b"]

    provider.delete(state)
    assert provider.read(state)[0] == "", "gone"


def test_edited_history_is_refused_at_diff(provider: Provider, database: str, folder: Path) -> None:
    """A preview refuses edited history without a database, until a repair was read by a refresh."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    _, state = provider.create(inputs(database, folder))
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ( )")
    news = inputs("host=nowhere.invalid", folder)
    with pytest.raises(grpc.RpcError) as caught:
        provider.diff(state, news)
    assert "0001_a was edited after it was applied" in caught.value.details()
    assert "Traceback" not in caught.value.details()
    with connect(database) as connection:
        repair(connection, load(folder), "public", "0001_a", print)
    _, read = provider.read(state)
    assert provider.diff(read, news), "an update, which tells the state"
    assert provider.update(read, inputs(database, folder))["applied"] == news["migrations"]


def test_a_removed_suffix_is_undone_when_that_is_allowed(provider: Provider, database: str, folder: Path) -> None:
    for name in ("0001_a", "0002_b"):
        (folder / f"{name}.up.sql").write_text(f"CREATE TABLE {name[5:]} ()")
        (folder / f"{name}.down.sql").write_text(f"DROP TABLE {name[5:]}")
    _, state = provider.create(inputs(database, folder))
    (folder / "0002_b.up.sql").unlink()
    (folder / "0002_b.down.sql").unlink()
    with pytest.raises(grpc.RpcError, match="allowDown true"):
        provider.diff(state, inputs(database, folder))
    news = inputs(database, folder, allow_down=True)
    assert provider.diff(state, news)
    assert list(provider.update(state, news)["applied"]) == ["0001_a"]
    assert ask(database, "SELECT to_regclass('a')::text, to_regclass('b')::text") == [("a", None)]


def test_a_removed_migration_without_a_down_is_told_at_diff(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0002_b.up.sql").write_text("CREATE TABLE b ()")
    _, state = provider.create(inputs(database, folder))
    (folder / "0002_b.up.sql").unlink()
    with pytest.raises(grpc.RpcError, match="no down was recorded for 0002_b"):
        provider.diff(state, inputs(database, folder, allow_down=True))


def test_a_down_that_was_recorded_by_the_other_front_end_counts(
    provider: Provider, database: str, folder: Path
) -> None:
    for name in ("0001_a", "0002_b"):
        (folder / f"{name}.up.sql").write_text(f"CREATE TABLE {name[5:]} ()")
    _, state = provider.create(inputs(database, folder))
    (folder / "0002_b.down.sql").write_text("DROP TABLE b")
    run(database, folder, declare(on_destroy="revert", connection={"dbname": "app"}))
    for way in ("up", "down"):
        (folder / f"0002_b.{way}.sql").unlink()
    news = inputs(database, folder, allow_down=True)
    _, read = provider.read(state)
    assert provider.diff(read, news)
    assert list(provider.update(read, news)["applied"]) == ["0001_a"]


def test_bad_files_are_refused_at_check(provider: Provider, folder: Path) -> None:
    """Only files that are about to run are checked, not those of applied migrations."""
    (folder / "0001_a.up.sql").write_text("COMMIT")
    olds = inputs("", folder)
    (reason,) = provider.check({}, olds)
    assert "0001_a.up.sql, line 1: COMMIT" in reason
    assert provider.check(olds, olds) == []
    (folder / "0001_a.down.sql").write_text("SELECT 'a")
    (reason,) = provider.check(olds, inputs("", folder))
    assert "0001_a.down.sql, line 1: a quote" in reason


def test_a_database_that_lost_its_ledger_is_taken_for_a_new_one(
    provider: Provider, new_database: Callable[..., str], folder: Path
) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a (v vector(3))")
    first = inputs(new_database(), folder)
    _, state = provider.create(first)
    ask(first["conninfo"], "DROP SCHEMA pgvector_seed CASCADE")
    assert provider.read(state)[0] == "", "gone"
    changed = {**first, "declaration": declaration("retain")}
    with pytest.raises(grpc.RpcError, match="python -m seed migrate baseline 0001_a"):
        provider.update(state, changed)
    ask(first["conninfo"], "DROP TABLE a")
    after = provider.update(state, changed)
    assert after["ledger"] != state["ledger"]
    assert provider.read(after)[0], "the new one is what the state is about"
    assert not provider.diff(after, changed)


def test_a_state_of_before_the_options_can_be_updated_read_and_deleted(
    provider: Provider, database: str, folder: Path
) -> None:
    """A state without options, as an older version wrote it, still works."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0001_a.down.sql").write_text("DROP TABLE a")
    news = inputs(database, folder)
    _, state = provider.create(news)
    del state["options"]
    assert provider.diff(state, news)
    assert provider.update(state, news)["options"] == news["options"]
    assert provider.read(state)[1] == state
    provider.delete(state)


def test_a_change_of_credentials_alone_tries_them_and_runs_no_sql(
    provider: Provider, database: str, folder: Path
) -> None:
    """A wrong password is refused, so that a later destroy does not fail on it."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    news = inputs(database, folder)
    _, state = provider.create(news)
    rotated = {**news, "conninfo": make_conninfo(database, application_name="new")}
    assert provider.diff(state, rotated)
    (folder / "0001_a.up.sql").unlink()  # nothing is read, so nothing is run
    assert provider.update(state, rotated) == {**state, "conninfo": rotated["conninfo"]}
    with pytest.raises(grpc.RpcError, match="password authentication failed"):
        provider.update(state, {**news, "conninfo": make_conninfo(database, password="wrong")})


def test_an_edited_down_shows_as_a_change_and_is_recorded(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0001_a.down.sql").write_text("DROP TABL a")
    _, state = provider.create(inputs(database, folder))
    (folder / "0001_a.down.sql").write_text("DROP TABLE a")
    news = inputs(database, folder)
    assert provider.diff(state, news)
    provider.delete(provider.update(state, news))


def test_another_database_is_refused_at_check(provider: Provider, folder: Path) -> None:
    """A changed database name is refused: the engine would drop the extension of the old database."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    olds = inputs("", folder, declaration=declaration(dbname="one"))
    (reason,) = provider.check(olds, inputs("", folder, declaration=declaration(dbname="two")))
    assert "was one and is two now" in reason
    assert "pulumi stack init" in reason


def test_another_ledger_is_left_alone(provider: Provider, new_database: Callable[..., str], folder: Path) -> None:
    """A resource whose database has another ledger is not read, updated or deleted."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0001_a.down.sql").write_text("DROP TABLE a")
    first, second = inputs(new_database(), folder), inputs(new_database(), folder)
    _, state = provider.create(first)
    provider.create(second)
    elsewhere = {**state, "conninfo": second["conninfo"]}
    with pytest.raises(grpc.RpcError, match="another database"):
        provider.delete(elsewhere)
    with pytest.raises(grpc.RpcError, match="another database"):
        provider.update(state, {**second, "declaration": declaration("retain")})
    with pytest.raises(grpc.RpcError, match="another database"):
        provider.read(elsewhere)  # if a refresh took it for deleted, the next up would run there


def test_an_old_ledger_is_removed_from_the_state_by_a_command_that_works(
    provider: Provider, new_database: Callable[..., str], folder: Path
) -> None:
    """Regression: without the flag the CLI refuses to delete a resource on which the grants depend."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    _, state = provider.create(inputs(new_database(), folder))
    provider.create(second := inputs(new_database(), folder))
    with pytest.raises(grpc.RpcError, match="pulumi state delete --target-dependents 'URN'"):
        provider.read({**state, "conninfo": second["conninfo"]})


def test_a_change_of_on_destroy_says_when_it_counts(
    process: subprocess.Popen[str], provider: Provider, database: str, folder: Path
) -> None:
    """A preview shows the resource's declaration as changed; the next destroy obeys the last up, not the file."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    _, state = provider.create(inputs(database, folder))
    assert provider.diff(state, inputs(database, folder, declaration=declaration("retain")))
    process.kill()
    assert process.stdout is not None
    words = "onDestroy: revert becomes retain with the next up; until then a destroy obeys revert"
    assert words in process.stdout.read()


@pytest.mark.parametrize("variable", ["PGSERVICE", "PGHOSTADDR"])
def test_a_refresh_says_which_variable_keeps_the_driver_away(
    monkeypatch: pytest.MonkeyPatch, database: str, folder: Path, variable: str, tmp_path: Path
) -> None:
    """The driver names only PGREQUIREPEER, which nobody has set, and repeats itself."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    (tmp_path / "services").write_text("[odd]\n")
    state = {**inputs(database, folder), "ledger": ledger.id} if (ledger := run(database, folder)[0]) else {}
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv(variable, "odd" if variable == "PGSERVICE" else "127.0.0.1")
    lines: list[str] = []
    monkeypatch.setattr("pgvector_seed.infra.migrations.report", lines.append)
    assert MigrationsProvider().read("x", state).id == "x"
    assert any(f"{variable} is set" in line and f"env -u {variable} pulumi refresh" in line for line in lines)


def test_what_a_later_up_keeps_is_not_undone(provider: Provider, database: str, folder: Path) -> None:
    """A delete obeys onDestroy of the last up on the database, even if another stack ran it."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0001_a.down.sql").write_text("DROP TABLE a")
    news = inputs(database, folder)
    _, state = provider.create(news)
    provider.create({**news, "declaration": declaration("retain")})
    with pytest.raises(grpc.RpcError, match="the last up on this database said onDestroy retain"):
        provider.delete(state)
    assert ask(database, "SELECT to_regclass('a')::text") == [("a",)]
    _, read = provider.read(state)
    provider.delete(read)  # with the value that the database has now
    assert ask(database, "SELECT to_regclass('a')::text") == [("a",)]
    assert provider.diff(read, news)
    provider.delete(provider.update(read, news))
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


@pytest.mark.parametrize("owner", ["there", "gone"])
def test_a_ledger_restored_without_its_owner_is_handed_over(
    provider: Provider, database: str, folder: Path, server: Server, owner: str
) -> None:
    """An update gives a restored ledger to the stack's owner, who lost the ledger or is missing."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    with new_names(server) as names:
        role = quoted(names.owner)
        make = f"CREATE ROLE {role}; GRANT CREATE ON DATABASE {name_of(database)} TO {role}; "
        make += f"GRANT CREATE ON SCHEMA public TO {role}"
        ask(database, make)
        news = inputs(as_role(database, names.owner), folder)
        _, state = provider.create(news)
        assert provider.read(state)[1] == state
        ask(database, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        if owner == "gone":
            ask(database, f"DROP OWNED BY {role}; DROP ROLE {role}")
        _, read = provider.read(state)
        assert provider.diff(read, news)
        if owner == "gone":
            ask(database, make)
        after = provider.update(read, news)
        assert after["tables"] == ["a"]
        assert not provider.diff(after, news)
        assert provider.read(after)[1] == after


def test_drift_of_the_ledger_shows_as_a_change(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    news = inputs(database, folder)
    _, state = provider.create(news)
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM pgvector_seed.migrations")
    _, read = provider.read(state)
    assert read["applied"] == {}
    assert provider.diff(read, news)


def test_retain_makes_no_connection_on_delete(provider: Provider, folder: Path) -> None:
    """Under retain, a stack whose server is gone can be destroyed."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    provider.delete(inputs("host=127.0.0.1 port=1", folder, declaration=declaration("retain")))


def test_a_provider_of_another_module_in_the_state_shows_as_a_change(
    provider: Provider, database: str, folder: Path
) -> None:
    """A stale class in the state is updated, before a delete fails with ModuleNotFoundError."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    news = inputs(database, folder)
    _, state = provider.create(news)
    stale = struct(state)
    stale["__provider"] = "b2xk"
    answer = provider.stub.Diff(provider_pb2.DiffRequest(id="x", urn=URN, olds=stale, news=struct(news)))
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME


@pytest.mark.parametrize("call", ["create", "delete"])
def test_a_failure_is_one_line_without_a_traceback(provider: Provider, folder: Path, call: str) -> None:
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    unreachable = inputs("host=127.0.0.1 port=1 user=x password=s3cret dbname=x", folder)
    with pytest.raises(grpc.RpcError) as caught:
        getattr(provider, call)(unreachable)
    details = caught.value.details()
    assert details.strip().startswith("UnreachableError: ")
    assert details.strip().count("\n") == 0
    assert "s3cret" not in details


def test_an_unexpected_failure_keeps_its_traceback(provider: Provider, folder: Path) -> None:
    """Regression: after one of our failures, no dynamic resource in the same process had a traceback."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    with pytest.raises(grpc.RpcError):
        provider.create(inputs("host=127.0.0.1 port=1 user=x dbname=x", folder))
    anothers = struct_pb2.Struct()
    anothers["__provider"] = base64.b64encode(dill.dumps(AnothersProvider())).decode()
    with pytest.raises(grpc.RpcError) as caught:
        provider.stub.Create(provider_pb2.CreateRequest(urn=URN, properties=anothers))
    details = caught.value.details()
    assert details.startswith("Traceback (most recent call last):")
    assert 'CreateResult(props["missing"])' in details
    with pytest.raises(grpc.RpcError, match="Traceback"):
        provider.create({"options": "{}"})


def test_a_failing_migration_is_named_with_its_line(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("SELECT 1;\nSELECT nope;")
    with pytest.raises(grpc.RpcError) as caught:
        provider.create(inputs(database, folder))
    assert caught.value.details().startswith('MigrationError: 0001_a.up.sql, line 2: column "nope" does not exist')
    with psycopg.connect(database) as connection:
        assert read_ledger(connection) is None


def test_files_that_change_under_way_are_refused(provider: Provider, database: str, folder: Path) -> None:
    """An up applies exactly the files of its preview."""
    (folder / "0001_a.up.sql").write_text("SELECT 1")
    news = inputs(database, folder)
    (folder / "0001_a.up.sql").write_text("SELECT 2")
    with pytest.raises(grpc.RpcError, match="changed while Pulumi ran"):
        provider.create(news)


def test_cancel_ends_the_statement_and_says_what_is_on_record(provider: Provider, database: str, folder: Path) -> None:
    """Regression: on Ctrl-C the engine waited for the migration's end, which kept its locks."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    (folder / "0002_b.up.sql").write_text("CREATE TABLE b (); SELECT pg_sleep(600)")
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(provider.create, inputs(database, folder))
        until(lambda: ask(database, ASLEEP))
        provider.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError) as caught:
            creating.result(60)
    outcome = (
        "0001_a is the newest recorded migration, and stays; later work was rolled back. Run the same command again."
    )
    assert caught.value.details().strip() == f"InterruptError: interrupted: {outcome}"
    assert not ask(database, ASLEEP)


def test_cancel_ends_the_wait_for_another(provider: Provider, database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a ()")
    with psycopg.connect(database) as holder, ThreadPoolExecutor() as pool:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        creating = pool.submit(provider.create, inputs(database, folder))
        until(lambda: ask(database, WAITING))
        provider.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError) as caught:
            creating.result(60)
    assert "interrupted: nothing was run" in caught.value.details()
    assert ask(database, "SELECT to_regclass('a')") == [(None,)]


def test_the_provider_ends_with_the_engine(process: subprocess.Popen[str], database: str, folder: Path) -> None:
    """Regression: a killed engine left its providers at work, with their locks."""
    (folder / "0001_a.up.sql").write_text("SELECT pg_sleep(600)")
    assert process.stdout is not None
    client = Provider(int(process.stdout.readline()))
    with ThreadPoolExecutor() as pool:
        creating = pool.submit(client.create, inputs(database, folder))
        until(lambda: ask(database, ASLEEP))
        process.stdout.close()
        assert process.wait(60) != 0
        until(lambda: not ask(database, ASLEEP))
        assert creating.exception() is not None
    client.channel.close()
