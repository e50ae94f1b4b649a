"""The reader's settings as a resource: stored on the role or the database, removed, and read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dill
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.infra.reader_settings import ReaderSettingsProvider
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.settings import stored_settings
from tests.conftest import ask, conninfo, declare, name_of
from tests.roles import Names, new_names, quoted

PROVIDER = ReaderSettingsProvider()
EF = {"hnsw.ef_search": "100"}


@pytest.fixture
def names(server: Server) -> Iterator[Names]:
    """Yield names of roles; the reader exists."""
    with new_names(server) as names:
        ask(conninfo(server, "postgres"), f"CREATE ROLE {quoted(names.reader)}")
        yield names


def props(login: str, settings: dict[str, str], reader: str = "") -> dict[str, Any]:
    roles = {"owner": "o", "writer": "w", "reader": reader}
    return {"conninfo": login, "roles": roles if reader else {}, "settings": settings}


def create(news: dict[str, Any]) -> dict[str, Any]:
    return PROVIDER.create(news).outs or {}


def update(olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    return PROVIDER.update("x", olds, news).outs or {}


def refresh(olds: dict[str, Any]) -> dict[str, Any]:
    read = PROVIDER.read("x", olds)
    assert read.id == "x", "a refresh never drops the resource"
    return read.outs or {}


def stored(login: str, role: str | None = None) -> dict[str, str]:
    with connect(login) as connection:
        return stored_settings(connection, role)


def record(login: str, folder: Path, **declared: Any) -> None:
    """Record a declaration in the ledger, as an ``up`` does after the settings."""
    (folder / "0001_a.up.sql").write_text("CREATE TABLE a (v vector(3))")
    with connect(login) as connection:
        apply(connection, load(folder), declare(**declared), print)


def test_the_pickle_is_a_name_and_nothing_else() -> None:
    assert len(dill.dumps(PROVIDER)) < 100


def test_the_whole_life_on_the_database(database: str) -> None:
    """Without roles every session in the database starts with the settings, and other databases do not."""
    outs = create(props(database, {**EF, "work_mem": "64MB"}))
    assert stored(database) == {"hnsw.ef_search": "100", "work_mem": "64MB"}
    assert ask(database, "SHOW hnsw.ef_search") == [("100",)]
    news = props(database, {"hnsw.ef_search": "200"})
    assert PROVIDER.diff("", outs, news).changes
    outs = update(outs, news)
    assert stored(database) == {"hnsw.ef_search": "200"}, "changed, and removed with its key"
    assert not PROVIDER.diff("", outs, news).changes
    PROVIDER.delete("", outs)
    assert stored(database) == {}


def test_the_whole_life_on_the_role(database: str, names: Names) -> None:
    """With roles only the reader's sessions in this database have the settings."""
    outs = create(props(database, EF, names.reader))
    assert (stored(database, names.reader), stored(database)) == (EF, {})
    outs = update(outs, props(database, {"ivfflat.probes": "5"}, names.reader))
    assert stored(database, names.reader) == {"ivfflat.probes": "5"}
    PROVIDER.delete("", outs)
    assert stored(database, names.reader) == {}


def test_settings_of_others_stay(database: str) -> None:
    """Only what the last declaration had is removed."""
    ask(database, f"ALTER DATABASE {name_of(database)} SET work_mem = '32MB'")
    outs = create(props(database, EF))
    outs = update(outs, props(database, {}))
    assert stored(database) == {"work_mem": "32MB"}
    PROVIDER.delete("", outs)
    assert stored(database) == {"work_mem": "32MB"}


def test_a_change_by_hand_is_read_and_mended(database: str) -> None:
    news = props(database, {**EF, "work_mem": "64MB", "jit": "off"})
    outs = create(news)
    assert refresh(outs) == outs
    here = name_of(database)
    ask(database, f"ALTER DATABASE {here} SET work_mem = '65536kB'")
    assert refresh(outs) == outs, "the same value in another unit is no change"
    ask(database, f"ALTER DATABASE {here} RESET jit")
    ask(database, f"SELECT '[1]'::vector; ALTER DATABASE {here} SET hnsw.ef_search = 10")
    drifted = refresh(outs)
    assert drifted["settings"] == {"hnsw.ef_search": "10", "work_mem": "64MB"}
    assert PROVIDER.diff("", drifted, news).changes
    update(drifted, news)
    assert stored(database) == news["settings"]


def test_a_lost_state_removes_what_the_ledger_has(database: str, folder: Path) -> None:
    """The ledger has the last declaration, so a key that goes while the state is lost is removed, too."""
    create(props(database, {**EF, "jit": "off"}))
    record(database, folder, reader_settings={"hnsw.ef_search": 100, "jit": False})
    ask(database, f"ALTER DATABASE {name_of(database)} SET work_mem = '32MB'")
    create(props(database, {"jit": "off"}))
    assert stored(database) == {"jit": "off", "work_mem": "32MB"}


def test_a_stack_that_gains_roles_moves_them(database: str, folder: Path, names: Names) -> None:
    outs = create(props(database, EF))
    record(database, folder, reader_settings={"hnsw.ef_search": 100})
    update(outs, props(database, EF, names.reader))
    assert (stored(database, names.reader), stored(database)) == (EF, {})


def test_a_renamed_reader_keeps_them_and_loses_the_removed(database: str, names: Names) -> None:
    outs = create(props(database, {**EF, "jit": "off"}, names.reader))
    ask(database, f"ALTER ROLE {quoted(names.reader)} RENAME TO {quoted(names.writer)}")
    update(outs, props(database, EF, names.writer))
    assert stored(database, names.writer) == EF


def test_another_reader_gets_them_and_the_first_loses_them(database: str, names: Names) -> None:
    ask(database, f"CREATE ROLE {quoted(names.writer)}")
    outs = create(props(database, EF, names.reader))
    update(outs, props(database, EF, names.writer))
    assert (stored(database, names.reader), stored(database, names.writer)) == ({}, EF)


def test_a_removal_of_the_roles_is_refused_before_the_settings_move(names: Names) -> None:
    """Regression: the reader lost its settings before the migrations refused the same removal."""
    before, after = props("", EF, names.reader), props("", EF)
    (failure,) = PROVIDER.check(before, after).failures
    assert "roles.reader" in failure.reason
    assert "the stack has no roles any more" in failure.reason
    for olds, news in ((after, before), (before, before), (after, after), ({}, before), ({}, after)):
        assert not PROVIDER.check(olds, news).failures


def test_a_role_that_is_gone_has_none(database: str, names: Names) -> None:
    """A refresh and a destroy survive a reader that was dropped by hand."""
    outs = create(props(database, EF, names.reader))
    ask(database, f"DROP ROLE {quoted(names.reader)}")
    assert refresh(outs)["settings"] == {}
    PROVIDER.delete("", outs)


def test_all_or_nothing(database: str) -> None:
    """The error has the server's words and the command, and no setting is stored."""
    with pytest.raises(RefusedError, match="5000 is outside the valid range") as caught:
        create(props(database, {"work_mem": "64MB", "hnsw.ef_search": "5000"}))
    assert """Run: pulumi config set --path 'readerSettings["hnsw.ef_search"]' VALUE""" in str(caught.value)
    assert stored(database) == {}
    with pytest.raises(RefusedError, match=r'invalid configuration parameter name "hnsw\.ef_serach"'):
        create(props(database, {"hnsw.ef_serach": "5"}))
    assert stored(database) == {}


def test_without_the_extension(empty_database: str) -> None:
    with pytest.raises(InputError, match="the extension vector is not enabled"):
        create(props(empty_database, EF))
    PROVIDER.delete("", props(empty_database, EF))


@pytest.fixture
def deployer(database: str, names: Names) -> Iterator[str]:
    """Yield the conninfo of a login with CREATEROLE that owns the database."""
    ask(database, f"CREATE ROLE {quoted(names.owner)} LOGIN CREATEROLE PASSWORD 'deploy'")
    ask(database, f"ALTER DATABASE {name_of(database)} OWNER TO {quoted(names.owner)}")
    yield make_conninfo(database, user=names.owner, password="deploy")
    ask(database, f"ALTER DATABASE {name_of(database)} OWNER TO postgres")


def test_an_ordinary_login_on_its_database(deployer: str) -> None:
    """Regression: the server refuses pgvector's settings to an ordinary role before the library is loaded."""
    outs = create(props(deployer, EF))
    assert stored(deployer) == EF
    PROVIDER.delete("", outs)
    assert stored(deployer) == {}


def test_an_ordinary_login_on_the_reader_that_it_made(deployer: str, names: Names) -> None:
    ask(deployer, f"CREATE ROLE {quoted(names.writer)}")
    outs = create(props(deployer, EF, names.writer))
    assert stored(deployer, names.writer) == EF
    PROVIDER.delete("", outs)
    assert stored(deployer, names.writer) == {}


def test_a_reader_of_another_role(database: str, deployer: str, names: Names) -> None:
    """The error has the statement for a role that may; after it there is nothing left to do."""
    with pytest.raises(RefusedError, match="permission denied to alter role") as caught:
        create(props(deployer, EF, names.reader))
    statement = str(caught.value).partition("run in this database: ")[2]
    assert statement.startswith("""SELECT '[1]'::"public"."vector"; ALTER ROLE """)
    ask(database, statement)
    create(props(deployer, EF, names.reader))
    assert stored(database, names.reader) == EF
