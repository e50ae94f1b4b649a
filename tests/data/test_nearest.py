"""Searching from Python: the rows, the condition, the transaction around them, and asynchronous connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from pgvector_seed import nearest
from pgvector_seed.common.errors import InputError, UnreachableError, WrongResultError
from pgvector_seed.data.answer import Neighbor
from pgvector_seed.data.nearest import SearchOptions
from pgvector_seed.data.search import Question, find_search
from tests.conftest import ask

T = TypeVar("T")

pytestmark = pytest.mark.newest

ROWS = 2000
FILL = f"""
CREATE TABLE items (id int PRIMARY KEY, label text, "select" int, distance text, embedding vector(3));
INSERT INTO items
SELECT i, CASE WHEN i % 500 = 0 THEN 'rare' ELSE 'common' END, -i, 'far', ARRAY[i % 50, i / 50, i % 7]::vector
FROM generate_series(1, {ROWS}) AS i;
CREATE INDEX ON items USING hnsw (embedding vector_l2_ops);
INSERT INTO items VALUES (0, 'empty', 0, '', NULL);
ANALYZE items
"""
QUERY = [20.0, 20.0, 3.0]


@pytest.fixture
def items(database: str) -> str:
    ask(database, FILL)
    return database


@pytest.fixture
def connection(items: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(items, autocommit=True) as opened:
        opened.execute("SET enable_seqscan = off")
        yield opened


def in_new_loop(work: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine does. asyncio.run would leave no current event loop to the tests of Pulumi's SDK."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_rows_come_with_id_distance_and_columns(connection: psycopg.Connection) -> None:
    """Columns named like a keyword, or distance, are columns like others; the vectors are left out."""
    first, second = nearest(connection, "items", QUERY, k=2)
    assert isinstance(first, Neighbor)
    by_hand = "SELECT embedding <-> '[20,20,3]' FROM items WHERE id = %s"
    assert first.distance == connection.execute(by_hand, (first.id,)).fetchone()[0] <= second.distance  # type: ignore[index]
    assert first.columns == {"label": "common", "select": -first.id, "distance": "far"}
    assert nearest(connection, "items", QUERY, k=1, columns=["select"])[0].columns == {"select": -first.id}


def test_as_many_rows_as_were_asked_for(connection: psycopg.Connection) -> None:
    """More than hnsw.ef_search rows, and rows that one in 500 passes, come by the index, which goes on."""
    assert len(nearest(connection, "items", QUERY, k=100)) == 100
    rare = nearest(connection, "items", QUERY, k=3, where="label = $1", values=["rare"])
    assert [neighbor.columns["label"] for neighbor in rare] == ["rare"] * 3


def test_the_exact_fallback_finds_what_the_limits_of_the_index_hide(connection: psycopg.Connection) -> None:
    """The scan stops at hnsw.max_scan_tuples; without the fallback the rows that it found are the answer."""
    connection.execute("SELECT '[1]'::vector; SET hnsw.max_scan_tuples = 1; SET hnsw.ef_search = 10")
    question: SearchOptions = {"k": 4, "where": "label = $1", "values": ["rare"]}
    assert len(nearest(connection, "items", QUERY, **question)) < 4
    question["exact_fallback"] = True
    assert len(nearest(connection, "items", QUERY, **question)) == 4
    everything = nearest(connection, "items", QUERY, k=5000, exact_fallback=True)
    assert len(everything) == ROWS, "the row without a vector is no neighbor"


@pytest.mark.parametrize(
    ("where", "values", "words"),
    [
        ("label = $1", [], "1 parameter, and got 0 values"),
        ("label = $1", ["a", "b"], "1 parameter, and got 2 values"),
        ("true", [1], "0 parameters, and got 1 value"),
        ("true) OR (true", [], "syntax error"),
        ("true; DROP TABLE items", [], "cannot insert multiple commands"),
        ("true UNION SELECT", [], "syntax error"),
        ("true ORDER BY id", [], "syntax error"),
        ("label = 'a", [], "unterminated quoted string"),
        ("true /*", [], "unterminated /* comment"),
        ("missing = 1", [], 'column "missing" does not exist'),
        ("$1 = 'x' AND nextval('counter') > 0", ["x"], "read-only, and its condition would write"),
    ],
)
def test_a_bad_condition_changes_nothing(
    connection: psycopg.Connection, where: str, values: list[Any], words: str
) -> None:
    """Text that is not one condition is refused, and so are wrong numbers of values, and writes."""
    connection.execute("CREATE SEQUENCE counter")
    with pytest.raises(InputError, match=words.replace("*", r"\*")):
        nearest(connection, "items", QUERY, where=where, values=values)
    assert connection.execute("SELECT is_called FROM counter").fetchall() == [(False,)]
    assert len(nearest(connection, "items", QUERY)) == 10


@pytest.mark.parametrize("where", ["label LIKE '%mon'", "true -- a comment", "id IN (SELECT 1)", '"select" = -1'])
def test_any_condition_of_psql(connection: psycopg.Connection, where: str) -> None:
    """A per cent sign, a comment at the end, a subquery and a quoted name are taken."""
    assert nearest(connection, "items", QUERY, k=1, where=where)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ([1, 2], "2 dimensions, embedding has 3"),
        ([1, 2, float("nan")], "NaN"),
        ([1, 2, 1e300], "too large"),
        ("[1,2,x]", "no vector"),
        (None, "no vector"),
        (7, "no vector"),
        (np.ones((2, 3)), "no vector"),
        ([], "0 dimensions"),
    ],
)
def test_a_bad_query_vector(connection: psycopg.Connection, vector: Any, words: str) -> None:
    """Each is bad input, told by its fault."""
    with pytest.raises(InputError, match=words):
        nearest(connection, "items", vector)


def test_k_and_settings_have_a_range(connection: psycopg.Connection) -> None:
    """The number of rows is at least 1; ef_search and probes are in pgvector's ranges."""
    wrongs: list[SearchOptions] = [{"k": 0}, {"ef_search": 0}, {"ef_search": 1001}, {"probes": 40000}]
    for wrong in wrongs:
        with pytest.raises(InputError, match="must be"):
            nearest(connection, "items", QUERY, **wrong)
    assert len(nearest(connection, "items", QUERY, ef_search=1000, probes=1, k=1200)) == 1200


def test_a_text_is_no_list_of_values_or_columns(connection: psycopg.Connection) -> None:
    """Each of its characters would be taken for one."""
    wrongs: list[SearchOptions] = [{"columns": "label"}, {"where": "label = $1", "values": "a"}]
    for wrong in wrongs:
        with pytest.raises(InputError, match="is a text and not a sequence"):
            nearest(connection, "items", QUERY, **wrong)


def test_every_form_of_a_vector(database: str) -> None:
    """Lists, arrays, text and pgvector's own classes, for each type."""
    ask(
        database,
        "CREATE TABLE of_vector (at vector(2)); INSERT INTO of_vector VALUES ('[1,2]'), ('[3,4]');"
        "CREATE TABLE of_half (at halfvec(2)); INSERT INTO of_half VALUES ('[1,2]'), ('[3,4]');"
        "CREATE TABLE of_sparse (at sparsevec(2)); INSERT INTO of_sparse VALUES ('{1:1,2:2}/2'), ('{1:3,2:4}/2');"
        "CREATE TABLE of_bits (at bit(2)); INSERT INTO of_bits VALUES ('10'), ('00')",
    )
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:
        for vector in ([1, 2], (1, 2), np.array([1, 2]), "[1,2]", Vector([1, 2])):
            assert nearest(connection, "of_vector", vector, metric="l2", k=1) == [Neighbor(None, 0.0, {})]
        for half in ([1, 2], np.array([1.0, 2]), HalfVector([1, 2]), "[1,2]"):
            assert nearest(connection, "of_half", half, metric="cosine", k=1)[0].distance == pytest.approx(0)
        for sparse in (SparseVector([1, 2]), "{1:1,2:2}/2", [1, 2]):
            assert nearest(connection, "of_sparse", sparse, metric="l1", k=1)[0].distance == 0
        for bits in ("10", Bit("10"), [True, False]):
            assert [row.distance for row in nearest(connection, "of_bits", bits, metric="hamming")] == [0, 1]


def test_the_metric(connection: psycopg.Connection) -> None:
    """It is the index's unless one is given. Without either, and for another type, the metrics are named."""
    assert nearest(connection, "items", QUERY, metric="cosine")[0].distance < 1e-3
    with pytest.raises(InputError, match="zero vector"):
        nearest(connection, "items", [0, 0, 0], metric="cosine")
    with pytest.raises(InputError, match="no metric hamming"):
        nearest(connection, "items", QUERY, metric="hamming")
    connection.execute("CREATE TABLE bare (id int PRIMARY KEY, embedding vector(3))")
    with pytest.raises(InputError, match="neither the contract nor an index tells the metric"):
        nearest(connection, "bare", QUERY)


def test_rows_without_a_distance_are_no_neighbors(database: str) -> None:
    """Neither NULL nor a zero vector under cosine, with an index or without."""
    ask(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, at vector(2));"
        "INSERT INTO t VALUES (1, '[0,0]'), (2, NULL), (3, '[1,1]'), (4, '[1,1]')",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        for fallback in (False, True):
            rows = nearest(connection, "t", [1, 1], metric="cosine", exact_fallback=fallback)
            assert sorted(row.id for row in rows) == [3, 4]


def test_nothing_is_left_set(connection: psycopg.Connection) -> None:
    """Settings end with the search, in a transaction of the caller, too, which stays as it was."""
    shown = "SELECT current_setting('hnsw.iterative_scan'), current_setting('transaction_read_only')"
    nearest(connection, "items", QUERY)
    assert connection.execute(shown).fetchall() == [("off", "off")]
    with connection.transaction():
        connection.execute("INSERT INTO items VALUES (-1, 'mine', 0, '', '[20,20,3]')")
        assert nearest(connection, "items", QUERY, k=1)[0].id == -1
        assert connection.execute(shown).fetchall() == [("off", "off")]
        connection.execute("UPDATE items SET label = 'changed' WHERE id = -1")
    assert connection.execute("SELECT label FROM items WHERE id = -1").fetchall() == [("changed",)]


def test_the_sessions_own_iterative_scan_counts(connection: psycopg.Connection) -> None:
    """A role that has turned iterative scans off gets what its index gives."""
    connection.execute("SELECT '[1]'::vector; SET hnsw.iterative_scan = off; SET hnsw.ef_search = 10")
    assert len(nearest(connection, "items", QUERY, k=100)) == 10


def test_a_connection_that_begins_transactions_is_idle_afterwards(items: str) -> None:
    """The driver would begin a transaction with the first statement, and leave it open."""
    with psycopg.connect(items) as connection:
        nearest(connection, "items", QUERY)
        assert connection.info.transaction_status == TransactionStatus.IDLE


def test_the_table_is_looked_up_again_after_an_error(connection: psycopg.Connection) -> None:
    """A table of another shape is found at the second call."""
    nearest(connection, "items", QUERY)
    connection.execute("ALTER TABLE items RENAME COLUMN label TO kind")
    with pytest.raises(InputError, match="label"):
        nearest(connection, "items", QUERY)
    assert "kind" in nearest(connection, "items", QUERY)[0].columns


def test_row_security_and_rights_are_the_logins(items: str) -> None:
    """A login finds the rows that it may see, and gets the server's words for the others."""
    role = "a_tenant"
    ask(
        items,
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON items TO {role};"
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY rare ON items USING (label = 'rare')",
    )
    try:
        with psycopg.connect(items, user=role, password="x", autocommit=True) as connection:
            assert {row.columns["label"] for row in nearest(connection, "items", QUERY)} == {"rare"}
            ask(items, f"REVOKE SELECT ON items FROM {role}")
            with pytest.raises(WrongResultError, match="permission denied"):
                nearest(connection, "items", QUERY)
    finally:
        ask(items, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_servers_time_limit_and_a_lost_connection(items: str) -> None:
    """Both are errors of the tree, with their causes."""
    with psycopg.connect(items, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 1")
        slow = "pg_sleep(0.01 + id * 0) IS NOT NULL"
        with pytest.raises(WrongResultError, match="statement timeout") as raised:
            nearest(connection, "items", QUERY, where=slow)
        assert isinstance(raised.value.__cause__, psycopg.errors.QueryCanceled)
        connection.execute("SET statement_timeout = 0")
        nearest(connection, "items", QUERY)
        ask(items, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        with pytest.raises(UnreachableError):
            nearest(connection, "items", QUERY)


def test_statements_that_the_caller_has_prepared_stay(items: str) -> None:
    """A look-up on the caller's connection neither takes their names nor drops them."""
    with psycopg.connect(items, autocommit=True) as connection:
        for number in range(3):
            connection.execute("SELECT %s::int", (number,), prepare=True)
            nearest(connection, "items", QUERY, k=number + 1, where="true" if number else None)
        assert connection.execute("SELECT count(*) > 0 FROM pg_prepared_statements").fetchall() == [(True,)]


def test_a_pipeline_of_the_caller_is_refused_at_the_look_up(connection: psycopg.Connection) -> None:
    """A look-up needs answers before it can go on; afterwards a pipeline is no obstacle."""
    with connection.pipeline(), pytest.raises(InputError, match="pipeline mode"):
        nearest(connection, "items", QUERY)
    nearest(connection, "items", QUERY)
    with connection.pipeline():
        assert len(nearest(connection, "items", QUERY)) == 10


def test_threads_that_share_a_connection_take_turns(connection: psycopg.Connection) -> None:
    """Each of them gets its own rows."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda k: nearest(connection, "items", QUERY, k=k), range(1, 40)))
    assert [len(answer) for answer in answers] == list(range(1, 40))


def test_an_asynchronous_connection(items: str) -> None:
    """It gets the rows of a synchronous one, stays usable, and keeps its handlers of notices."""

    async def search() -> tuple[list[Neighbor], list[Neighbor], list[str]]:
        notices: list[str] = []
        async with await psycopg.AsyncConnection.connect(items) as connection:
            connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
            both = await asyncio.gather(*(nearest(connection, "items", QUERY, k=k) for k in (70, 3)))
            await connection.execute("DO $$ BEGIN RAISE NOTICE 'heard'; END $$")
            with pytest.raises(InputError):
                await nearest(connection, "items", [1])
            return both[0], both[1], notices

    many, few, notices = in_new_loop(search())
    assert len(many) == 70
    assert few == many[:3]
    assert notices == ["heard"]


def test_a_cancelled_look_up_leaves_the_connection_usable(items: str) -> None:
    """A task that ends while its table is looked up waits for the look-up."""

    async def search() -> int:
        async with await psycopg.AsyncConnection.connect(items, autocommit=True) as connection:
            task = asyncio.ensure_future(nearest(connection, "items", QUERY))
            while not connection.lock.locked():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(await nearest(connection, "items", QUERY, k=5))

    assert in_new_loop(search()) == 5


def test_numpy_is_not_needed() -> None:
    """An application that only searches needs the job's packages alone."""
    program = (
        "import sys; from pgvector_seed import nearest; sys.exit('numpy' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


PER_SCHEMA = """
CREATE SCHEMA {0}; CREATE TABLE {0}.notes (id int PRIMARY KEY, owner text DEFAULT '{0}', at vector(2));
INSERT INTO {0}.notes (id, at) VALUES (1, '[1,1]')
"""


def test_another_search_path_names_another_table(database: str) -> None:
    """As in SQL, a name without a schema is looked up on the present search_path, also after a search of another."""
    for schema in ("tenant_a", "tenant_b"):
        ask(database, PER_SCHEMA.format(schema))
    question: SearchOptions = {"metric": "l2", "exact_fallback": True, "k": 2}
    with psycopg.connect(database, autocommit=True) as connection:
        owners = []
        for schema in ("tenant_a", "tenant_b", "tenant_a"):
            connection.execute(f"SET search_path TO {schema}, public".encode())
            owners.append(nearest(connection, "notes", [1, 1], **question)[0].columns["owner"])
        connection.execute("SET search_path TO public")
        with pytest.raises(InputError, match="no table notes"):
            nearest(connection, "notes", [1, 1], **question)
    assert owners == ["tenant_a", "tenant_b", "tenant_a"]


def test_another_search_path_of_an_asynchronous_connection(database: str) -> None:
    """The table is looked up again, also if the one before may not be read any more."""
    for schema in ("tenant_a", "tenant_b"):
        ask(database, PER_SCHEMA.format(schema))

    async def owners() -> list[str]:
        async with await psycopg.AsyncConnection.connect(database) as connection:
            await connection.execute("SET search_path TO tenant_a, tenant_b, public")
            rows = await nearest(connection, "notes", [1, 1], metric="l2")
            await connection.execute("DROP SCHEMA tenant_a CASCADE")
            return [row.columns["owner"] for row in rows + await nearest(connection, "notes", [1, 1], metric="l2")]

    assert in_new_loop(owners()) == ["tenant_a", "tenant_b"]


def test_a_table_that_changes_under_a_prepared_statement(items: str, connection: psycopg.Connection) -> None:
    """One search fails as with any prepared statement, and the next one answers."""
    for _ in range(8):
        nearest(connection, "items", QUERY)
    ask(items, "ALTER TABLE items ALTER label TYPE varchar(20)")
    with pytest.raises(WrongResultError, match="cached plan"):
        nearest(connection, "items", QUERY)
    assert len(nearest(connection, "items", QUERY)) == 10


def test_another_client_encoding(database: str) -> None:
    """A condition and names beyond ASCII mean what they say; text that the encoding lacks is bad input."""
    ask(
        database,
        """CREATE TABLE notes (id int PRIMARY KEY, "größe" text, at vector(2));
        INSERT INTO notes VALUES (1, 'ü', '[1,1]'), (2, 'x', '[1,2]')""",
    )
    with psycopg.connect(database, autocommit=True, client_encoding="latin1") as connection:
        (row,) = nearest(connection, "notes", [1, 1], where="\"größe\" = 'ü'", metric="l2")
        assert row.columns == {"größe": "ü"}
        for where in ("'\u20ac' = 'a'", "'\udc80' = 'a'"):
            with pytest.raises(InputError, match="cannot be encoded"):
                nearest(connection, "notes", [1, 1], where=where, metric="l2")


def test_look_alike_operators_do_not_run(items: str) -> None:
    """An operator of a user's schema before pg_catalog on the search_path is not used, by an exact search either."""
    ask(
        items,
        "CREATE SCHEMA evil; CREATE FUNCTION evil.f(bigint, int) RETURNS boolean LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'look-alike'; END$$; "
        "CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = int, FUNCTION = evil.f)",
    )
    with psycopg.connect(items, options="-c search_path=evil,pg_catalog,public", autocommit=True) as connection:
        assert len(nearest(connection, "public.items", QUERY, k=ROWS + 1, exact_fallback=True)) == ROWS


@pytest.mark.parametrize("where", [None, "label = 'b'"])
def test_the_form_of_a_partial_index_is_not_that_of_other_rows(database: str, where: str | None) -> None:
    """Bits of a partial index would order all rows badly, and a cast to halfvec fails for large numbers."""
    ask(
        database,
        """CREATE TABLE notes (id int PRIMARY KEY, label text, at vector(2), other vector(2));
        INSERT INTO notes SELECT i, 'b', ARRAY[1e6 - i, 1], ARRAY[i, 1] FROM generate_series(1, 500) i;
        CREATE INDEX ON notes USING hnsw ((at::halfvec(2)) halfvec_l2_ops) WHERE label = 'a';
        CREATE INDEX ON notes USING hnsw ((binary_quantize(other)::bit(2)) bit_hamming_ops) WHERE label = 'a'""",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        assert nearest(connection, "notes", [1e6, 1], column="at", where=where, metric="l2")[0].id == 1
        assert nearest(connection, "notes", [499, 1], k=1, column="other", where=where, metric="l2")[0].id == 499


@pytest.mark.parametrize(("where", "values"), [("label = 'a' AND id > $1", [0]), ("label = $1", ["a"])])
def test_the_form_of_a_partial_index_serves_its_own_rows(database: str, where: str, values: list[Any]) -> None:
    """If the condition alone implies that of the index; otherwise the vectors themselves give the order."""
    ask(
        database,
        """CREATE TABLE notes (id int PRIMARY KEY, label text, at vector(2));
        INSERT INTO notes SELECT i, 'a', ARRAY[i, 1] FROM generate_series(1, 500) i;
        CREATE INDEX ON notes USING hnsw ((binary_quantize(at)::bit(2)) bit_hamming_ops) WHERE label = 'a'""",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        search = find_search(connection, Question("notes", metric="l2", where=where, values=1))
        assert search.column.bits == ("'a'" in where)
        assert len(nearest(connection, "notes", [1, 1], where=where, values=values, metric="l2")) == 10


def test_an_index_on_a_cast_of_vectors_without_declared_dimensions(database: str) -> None:
    ask(
        database,
        """CREATE TABLE notes (id int PRIMARY KEY, at vector); INSERT INTO notes VALUES (1, '[1,1]'), (2, '[1,2]');
        CREATE INDEX ON notes USING hnsw ((at::halfvec(2)) halfvec_l2_ops)""",
    )
    with psycopg.connect(database, autocommit=True) as connection:
        assert nearest(connection, "notes", [1, 1])[0].id == 1


def test_relaxed_order_is_sorted_again(database: str) -> None:
    """An iterative scan of IVFFlat goes on list by list, and PostgreSQL 17 takes that for the order."""
    ask(
        database,
        f"""CREATE TABLE notes (id int PRIMARY KEY, at vector(2));
        INSERT INTO notes SELECT i, ARRAY[sin(i), cos(i * 3)] FROM generate_series(1, {ROWS}) i;
        CREATE INDEX ON notes USING ivfflat (at vector_l2_ops) WITH (lists = 40); ANALYZE notes""",
    )
    with psycopg.connect(database, autocommit=True, options="-c enable_seqscan=off") as connection:
        distances = [row.distance for row in nearest(connection, "notes", [0.3, 0.1], k=400, probes=1)]
    assert len(distances) == 400
    assert distances == sorted(distances)
