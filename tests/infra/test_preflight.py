"""The creation of the extension, once for all who need it, and the checks before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import InputError
from pgvector_seed.infra.preflight import enable, preflight
from pgvector_seed.migrate.lock import LOCK_KEY
from tests.conftest import WAITING, ask, name_of, until

EXTENSION = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"


@pytest.fixture
def login(empty_database: str) -> Iterator[str]:
    """Yield the conninfo of a database owner that is no superuser."""
    role = f"al_{name_of(empty_database).strip(chr(34)).split()[-1]}"
    ask(empty_database, f"CREATE ROLE {role} LOGIN PASSWORD 's3cret'")
    ask(empty_database, f"ALTER DATABASE {name_of(empty_database)} OWNER TO {role}")
    yield make_conninfo(empty_database, user=role, password="s3cret")
    ask(empty_database, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}")


def test_looking_makes_nothing(empty_database: str) -> None:
    preflight(empty_database)
    assert ask(empty_database, EXTENSION) == []


@pytest.mark.parametrize("look", [preflight, enable])
def test_who_may_not_is_told_what_to_have_done(login: str, look: Callable[[str], None]) -> None:
    """The preflight names the missing right: pgvector is not trusted, so the database's owner lacks it."""
    with pytest.raises(InputError, match=r"cannot enable pgvector: permission denied.*createExtension false"):
        look(login)
    assert ask(login, EXTENSION) == []


@pytest.mark.parametrize("look", [preflight, enable])
def test_who_may_not_need_not_where_it_is_there(login: str, empty_database: str, look: Callable[[str], None]) -> None:
    ask(empty_database, "CREATE SCHEMA elsewhere; CREATE EXTENSION vector SCHEMA elsewhere")
    look(login)
    assert ask(login, EXTENSION) == [("elsewhere",)]


def test_it_is_made_once_and_in_turn(empty_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each deployment waits for the lock of another one, and says so."""
    with closing(psycopg.connect(empty_database, autocommit=True)) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        threads = [threading.Thread(target=enable, args=(empty_database,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(ask(empty_database, WAITING)) == len(threads))
        assert ask(empty_database, EXTENSION) == []
    for thread in threads:
        thread.join()
    assert ask(empty_database, EXTENSION) == [("public",)]
    assert "waiting for the migration lock, which postgres" in capsys.readouterr().out
