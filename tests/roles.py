"""Roles for the tests. Roles belong to the whole server: their names are unique, and they are dropped at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from local.server import Server
from tests.conftest import ask, conninfo

ODD = 'Od"d 😀 \\'  # capitals, a quote, a space, an emoji and a backslash


@dataclass(frozen=True)
class Names:
    """Names of three roles that do not exist on the server yet."""

    owner: str
    writer: str
    reader: str


@contextmanager
def new_names(server: Server) -> Iterator[Names]:
    """Yield unused role names, and drop the roles that have one of them at the end, with all that they own."""
    mark = secrets.token_hex(3)
    yield Names(*(f"{ODD} {kind} {mark}" for kind in ("owner", "writer", "reader")))
    drop_roles(server, mark)


def drop_roles(server: Server, mark: str) -> None:
    """Drop the roles whose name ends with this mark, and the objects that they own."""
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        names = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"%{mark}",)).fetchall()
        databases = connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
        for (name,) in names:
            for (database,) in databases:
                ask(conninfo(server, database), f"DROP OWNED BY {quoted(name)} CASCADE")
        for (name,) in names:
            connection.execute(f"DROP ROLE {quoted(name)}".encode())


def quoted(name: str) -> str:
    """Return the name as an SQL identifier."""
    return sql.Identifier(name).as_string()
