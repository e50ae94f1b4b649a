"""The remedy for a refused connection, by the words of libpq and the server."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.refusals import remedy_of


def test_a_name_does_not_choose_the_remedy(database: str) -> None:
    """Regression: a database whose name has words of another message got that message's remedy."""
    with pytest.raises(UnreachableError) as caught, connect(make_conninfo(database, dbname="too many clients")):
        pass
    assert caught.value.remedy.startswith("Check PGDATABASE")
    assert remedy_of("failed to resolve host 'SSL.example': Name or service not known", None).startswith("Check PGHOST")


def test_a_method_of_authentication_is_no_name() -> None:
    message = 'authentication method requirement "!password" failed: server requested a cleartext password'
    assert "PGREQUIREAUTH=password" in remedy_of(message, None)
