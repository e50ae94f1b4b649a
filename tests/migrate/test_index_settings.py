"""The settings under which a migration builds a vector index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import MigrationError
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare, name_of
from tests.migrate.helpers import MARK, run, write

TABLE = """
CREATE TABLE "A b" (v vector(1), n int);
INSERT INTO "A b" SELECT ARRAY[n], n FROM generate_series(1, 5000) n
"""
TOLD = r"0002_b.up.sql, line \d: needs about 3 MB; maintenance_work_mem \d+ MB, \d workers?"
SETTINGS = "SELECT name, setting, source FROM pg_settings WHERE name ~ 'maintenance|parallel' ORDER BY 1"
RECORD = """
CREATE TABLE public.used (memory text, pages text);
CREATE FUNCTION public.record() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO public.used VALUES
    (current_setting('maintenance_work_mem'), current_setting('min_parallel_table_scan_size'));
END $$;
CREATE EVENT TRIGGER record ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.record();
"""
KEEP = "CREATE TABLE used AS SELECT current_setting('maintenance_work_mem') AS memory"


@pytest.mark.parametrize(
    "text",
    [
        'CREATE INDEX i ON "A b" USING hnsw (v vector_l2_ops) WITH (m = 8);',
        MARK + "CREATE INDEX CONCURRENTLY i ON public.\"A b\" USING hnsw (v vector_l2_ops) WITH ( m='8' );",
    ],
)
def test_an_index_on_rows_gets_memory_which_is_reset(database: str, folder: Path, text: str) -> None:
    """The estimate: 5,000 rows of 12 bytes, with m = 8, take 5,000 x (12 + 210 + 32 x 8) x 1.2 bytes."""
    write(folder, a1_up=TABLE)
    run(database, folder)
    ask(database, f"ALTER DATABASE {name_of(database)} SET maintenance_work_mem TO '1MB'; {RECORD}")
    write(folder, b2_up=text)
    lines: list[str] = []
    with connect(database) as connection:
        before = connection.execute(SETTINGS).fetchall()
        apply(connection, load(folder), declare(), lines.append)
        assert connection.execute(SETTINGS).fetchall() == before
    assert any(re.fullmatch(TOLD, line) for line in lines), lines
    assert ask(database, "SELECT memory <> '1MB', pages FROM used") == [(True, "0")]
    assert ask(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


@pytest.mark.newest
def test_a_setting_of_the_migration_or_the_client_stays(database: str, folder: Path) -> None:
    """Also that of a migration whose statements are on one line."""
    index, own = 'CREATE INDEX ON "A b" USING hnsw (v vector_l2_ops)', "SET LOCAL maintenance_work_mem TO '3MB'"
    statements = f"{own};\n{index};\n{KEEP}"
    write(
        folder,
        a1_up=TABLE.replace("5000", "20"),
        b2_up=statements,
        c3_up=f"{index}; {own}; {KEEP.replace('used', 'one')}",
    )
    _, report = run(make_conninfo(database, options="-c max_parallel_maintenance_workers=0"), folder)
    lines = [line for line in report if "needs" in line]
    assert lines == ["0002_b.up.sql, line 2: needs about 1 MB; maintenance_work_mem 3 MB, 0 workers"]
    assert ask(database, "SELECT memory FROM used UNION ALL SELECT memory FROM one") == [("3MB",), ("3MB",)]


@pytest.mark.newest
def test_other_statements_are_run_as_they_are(database: str, folder: Path) -> None:
    """Also one with a fault: its line is that of the statement."""
    empty = TABLE.replace("5000", "0") + ";\n"
    indexes = 'CREATE INDEX ON "A b" USING hnsw (v vector_l2_ops);\nCREATE INDEX ON "A b" USING brin (n);\n'
    write(folder, a1_up=empty + indexes, b2_up="SELECT 1;\nCREATE INDEX ON b USING hnsw (v)")
    with pytest.raises(MigrationError, match=r'0002_b\.up\.sql, line 2: relation "b" does not exist'):
        run(database, folder)
    write(folder, b2_up="SELECT 1")
    assert not any("needs" in line for line in run(database, folder)[1])
