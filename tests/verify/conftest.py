"""The base for seeded faults: a healthy deployment, built once per server and cloned for each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local.server import Server
from tests.conftest import ask, conninfo
from tests.verify.helpers import FAULTS, run_sql

BASE = "verify_base"


def build(server: Server, name: str, seed: float | None = None) -> str:
    """Build the base in a new database of that name, with its own vectors or those of another ``seed``."""
    ask(conninfo(server, "postgres"), f'CREATE DATABASE "{name}" TEMPLATE template0')
    text = (FAULTS / "base.sql").read_text()
    run_sql(conninfo(server, name), text.replace("setseed(0.42)", f"setseed({seed})") if seed is not None else text)
    return conninfo(server, name)


@pytest.fixture(scope="session")
def bases() -> dict[int, str]:
    """Return the bases that were built so far, by major version."""
    return {}


@pytest.fixture
def base(server: Server, bases: dict[int, str], new_database: Callable[..., str]) -> str:
    """Return the conninfo of a fresh clone of the base."""
    if server.major not in bases:
        bases[server.major] = build(server, BASE)
    return new_database(BASE)
