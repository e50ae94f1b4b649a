"""The ledger's format: an older one is readable and upgraded by the first write, a newer one is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgvector_seed.common.errors import RefusedError, WrongResultError
from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.adopt import baseline, repair
from pgvector_seed.migrate.contract import DeclaredRecall, as_data, convert
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.ledger.format import FORMAT
from pgvector_seed.migrate.ledger.write import declaration_changes
from pgvector_seed.migrate.runner import ApplyOptions, undo
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.connection import connect
from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables, until
from tests.migrate.helpers import MARK, applied, applier, ledger_of, run, undo_all, write

FORMAT_1 = (Path(__file__).parent / "ledger-format-1.sql").read_text()
ROLES = "app_reader, app_writer"
COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'pgvector_seed' ORDER BY table_name, ordinal_position
"""
ROWS = """
SELECT ledger, declaration, schema_created, unfinished, catalogue, contract, (SELECT jsonb_agg(m) FROM
       (SELECT * FROM pgvector_seed.migrations ORDER BY position) m) FROM pgvector_seed.deployment
"""
NUMBER = "SELECT format FROM pgvector_seed.deployment"
# An event trigger that waits for the test, as soon as the upgrade has added its column.
WAIT_WITHIN = """
CREATE FUNCTION public.wait() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(1); END$$;
CREATE EVENT TRIGGER wait ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.wait();
"""
IS_WAITING = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory' AND state = 'active'
"""
BLOCKED = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'pgvector-seed' AND wait_event_type = 'Lock'
"""
COMMANDS = {
    "plan": ["migrate", "plan"],
    "status": ["migrate", "status"],
    "apply": ["migrate", "apply"],
    "down": ["migrate", "down", "--to", "base"],
    "baseline": ["migrate", "baseline", "0001_create_embeddings"],
    "repair": ["migrate", "repair", "0001_create_embeddings"],
    "sample": ["sample"],
    "verify": ["verify"],
}


def seed(conninfo: str, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``python -m seed`` as a user does."""
    options = ["--directory", str(folder)] if words[0] == "migrate" else []
    return run_seed(*words, *options, environment={"PATH": "", **pg_variables(conninfo)})


@pytest.fixture
def old(database: str, folder: Path) -> Iterator[str]:
    """Yield a database as version 0.1.0 left it, with a ledger of format 1, and write its migrations."""
    create = "CREATE TABLE embeddings (id bigint PRIMARY KEY, embedding vector(3) NOT NULL);\n"
    index = "CREATE INDEX CONCURRENTLY embeddings_hnsw ON embeddings USING hnsw (embedding vector_cosine_ops)"
    (folder / "0001_create_embeddings.up.sql").write_text(create)
    (folder / "0001_create_embeddings.down.sql").write_text("DROP TABLE embeddings;\n")
    (folder / "0002_index_embeddings.up.sql").write_text(f"{MARK}{index} WITH (m = 8);\n")
    ask(database, f"DROP ROLE IF EXISTS {ROLES}; CREATE ROLE app_reader LOGIN; CREATE ROLE app_writer LOGIN")
    ask(database, f"{create}; {index.replace('CONCURRENTLY', '')} WITH (m = 8)")
    ask(database, "INSERT INTO embeddings VALUES (1, '[1,0,0]'), (2, '[0,1,0]'), (3, '[0,0,1]'); ANALYZE embeddings")
    ask(database, FORMAT_1)
    ask(database, f"GRANT SELECT ON embeddings TO {ROLES}; GRANT INSERT, UPDATE, DELETE ON embeddings TO app_writer")
    yield database
    ask(database, f"DROP OWNED BY {ROLES}; DROP ROLE {ROLES}")


def third(folder: Path) -> None:
    """Write a third migration."""
    write(folder, c3_up="CREATE TABLE c ()", c3_down="DROP TABLE c")


@pytest.mark.parametrize("command", ["plan", "status", "verify"])
def test_an_old_format_is_read_as_it_is(old: str, folder: Path, command: str) -> None:
    before = ask(old, COLUMNS), ask(old, ROWS)
    done = seed(old, folder, COMMANDS[command])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ask(old, COLUMNS), ask(old, ROWS)) == before
    expected = {"plan": "Nothing to do", "status": "0002_index_embeddings   applied", "verify": "with 2 migrations"}
    assert expected[command] in done.stdout


def test_apply_upgrades_it_and_keeps_its_rows(old: str, folder: Path) -> None:
    before = ask(old, ROWS)
    done = seed(old, folder, COMMANDS["apply"])
    assert done.returncode == 0, done.stderr
    assert f"the ledger was upgraded from format 1 to {FORMAT}" in done.stdout
    assert "Nothing to run" in done.stdout
    assert (ask(old, ROWS), ask(old, NUMBER)) == (before, [(FORMAT,)])
    again = seed(old, folder, COMMANDS["apply"])
    assert (again.returncode, again.stdout) == (0, "Nothing to run: the database has every migration.\n")


def test_an_upgraded_ledger_is_as_a_new_one(old: str, new_database: Callable[..., str], folder: Path) -> None:
    """An upgraded ledger has the columns, defaults and comments of a new one."""
    comments = """
    SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'pgvector_seed.deployment'::regclass AND attnum > 0
    """
    run(old, folder, ledger_of(old).declaration)  # type: ignore[union-attr]
    new = new_database()
    run(new, folder)
    assert ask(new, NUMBER) == [(FORMAT,)]
    assert ask(old, COLUMNS) == ask(new, COLUMNS)
    assert ask(old, comments) == ask(new, comments)


def undo_third(conninfo: str, folder: Path, report: Callable[[str], None]) -> None:
    run_as_old(conninfo, folder)
    with connect(conninfo) as connection:
        undo(connection, load(folder), "public", "0002_index_embeddings", report)


def repair_first(conninfo: str, folder: Path, report: Callable[[str], None]) -> None:
    (folder / "0001_create_embeddings.down.sql").write_text("DROP TABLE IF EXISTS embeddings")
    with connect(conninfo) as connection:
        assert repair(connection, load(folder), "public", "0001_create_embeddings", report)


def baseline_third(conninfo: str, folder: Path, report: Callable[[str], None]) -> None:
    third(folder)
    ask(conninfo, "CREATE TABLE c ()")
    with connect(conninfo) as connection:
        assert baseline(connection, load(folder), declare(), "0003_c", report) == ["0003_c"]


def run_as_old(conninfo: str, folder: Path) -> None:
    """Record a third migration as a version does that knows format 1 only."""
    third(folder)
    file = load(folder)[-1]
    row = f"('0003_c', 3, '{file.checksum}', '{file.down}', '1 s', '0.1.0')"
    ask(conninfo, "CREATE TABLE c ()")
    ask(
        conninfo, f"INSERT INTO pgvector_seed.migrations (id, position, checksum, down, duration, version) VALUES {row}"
    )


@pytest.mark.parametrize("change", [undo_third, repair_first, baseline_third])
def test_whatever_writes_upgrades_it(
    old: str, folder: Path, change: Callable[[str, Path, Callable[[str], None]], None]
) -> None:
    messages: list[str] = []
    change(old, folder, messages.append)
    assert ask(old, NUMBER) == [(FORMAT,)]
    assert messages[0].startswith("the ledger was upgraded from format 1")


def test_a_destroy_drops_it(old: str, folder: Path) -> None:
    (folder / "0002_index_embeddings.down.sql").write_text("DROP INDEX embeddings_hnsw")
    seed(old, folder, COMMANDS["apply"])  # which records the down
    ask(old, "ALTER TABLE pgvector_seed.deployment DROP COLUMN format, DROP COLUMN indexes")
    undo_all(old, folder)
    assert ask(old, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]


def test_a_refused_plan_upgrades_nothing(old: str, folder: Path) -> None:
    (folder / "0001_create_embeddings.up.sql").write_text("CREATE TABLE edited ()")
    before = ask(old, COLUMNS)
    assert seed(old, folder, COMMANDS["apply"]).returncode == 2
    assert ask(old, COLUMNS) == before


@pytest.mark.parametrize("end", ["kill", "interrupt", "server"])
def test_an_upgrade_that_is_killed_leaves_the_old_format(old: str, folder: Path, end: str) -> None:
    """An upgrade is rolled back if its client is interrupted or killed, or its server process is."""
    before = ask(old, COLUMNS), ask(old, ROWS)
    third(folder)
    ask(old, WAIT_WITHIN)
    with psycopg.connect(old, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        with applier(old, folder) as process:
            ((pid,),) = until(lambda: ask(old, IS_WAITING))
            if end == "server":
                ask(old, f"SELECT pg_terminate_backend({pid})")
            elif end == "kill":
                process.kill()
            else:
                process.send_signal(2)
            output = process.communicate()[0]
        until(lambda: not ask(old, f"SELECT FROM pg_stat_activity WHERE pid = {pid}"))
    assert process.returncode == {"server": 3, "kill": -9, "interrupt": 130}[end], output
    assert (ask(old, COLUMNS), ask(old, ROWS)) == before
    ask(old, "DROP EVENT TRIGGER wait")
    done = seed(old, folder, COMMANDS["apply"])
    assert done.returncode == 0, done.stderr
    assert (ask(old, NUMBER), applied(old)[-1]) == ([(FORMAT,)], "0003_c")


def test_two_appliers_at_once_upgrade_it_once(old: str, folder: Path) -> None:
    """The second applier, which has read the old format, waits and then finds the new one."""
    third(folder)
    ask(old, WAIT_WITHIN)
    with psycopg.connect(old, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        with applier(old, folder) as first:
            until(lambda: len(ask(old, BLOCKED)) == 1)  # it has altered the table, and not committed
            with applier(old, folder) as second:
                until(lambda: len(ask(old, BLOCKED)) == 2)
                holder.execute("SELECT pg_advisory_unlock(1)")
                output = first.communicate()[0] + second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0), output
    assert output.count("the ledger was upgraded from format 1") == output.count("0003_c applied") == 1
    assert ask(old, NUMBER) == [(FORMAT,)]


def test_an_upgrade_waits_for_no_reader_for_ever(old: str, folder: Path) -> None:
    """An upgrade gives up on its lock, behind which all readers of the ledger wait."""
    with psycopg.connect(old) as reader:
        reader.execute("SELECT FROM pgvector_seed.deployment")
        with pytest.raises(WrongResultError, match=r"upgrading the ledger: .* lock timeout") as caught:
            run(old, folder, options=ApplyOptions(Limits("100ms"), keep_declared=True))
    assert "--lock-timeout" in caught.value.remedy


NEWER = f"""
ALTER TABLE pgvector_seed.deployment ADD COLUMN IF NOT EXISTS format integer NOT NULL DEFAULT {FORMAT};
UPDATE pgvector_seed.deployment SET format = 99;
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_newer_format_is_refused_by_every_command(old: str, folder: Path, command: str) -> None:
    ask(old, NEWER)
    before = ask(old, COLUMNS), ask(old, ROWS)
    done = seed(old, folder, COMMANDS[command])
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"the ledger has the format 99, and this version of pgvector-seed, {VERSION}, knows {FORMAT} at most" in (
        done.stdout + done.stderr
    )
    assert (ask(old, COLUMNS), ask(old, ROWS)) == before


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        (("0.1.0", "0.1.0"), f"newer than {VERSION}"),
        (("1.9.0", "1.10.0"), "at least 1.10.0"),
        (("1.9.0", "2.0.0'; rm -rf ~"), "at least 1.9.0"),
        (("1.9.0", "9" * 5000), "at least 1.9.0"),
    ],
)
def test_a_newer_format_names_the_version_to_use(old: str, folder: Path, versions: tuple[str, str], words: str) -> None:
    """The error names the newest recorded version, unless it is no version: it is typed into a shell."""
    with psycopg.connect(old, autocommit=True) as connection:
        for position, version in enumerate(versions, 1):
            connection.execute(
                "UPDATE pgvector_seed.migrations SET version = %s WHERE position = %s", (version, position)
            )
    ask(old, f"{NEWER}; ALTER TABLE pgvector_seed.deployment DROP COLUMN catalogue")
    with pytest.raises(RefusedError) as caught:
        run(old, folder)
    assert f"Use the version that wrote it, {words}: " in caught.value.remedy
    assert "rm -rf" not in caught.value.remedy


def test_a_newer_format_whose_migrations_have_no_version(old: str, folder: Path) -> None:
    ask(old, f"{NEWER}; ALTER TABLE pgvector_seed.migrations DROP COLUMN version")
    with pytest.raises(RefusedError, match="the ledger has the format 99"):
        run(old, folder)


@pytest.mark.parametrize("table", ["deployment", "migrations"])
@pytest.mark.parametrize("format_", [1, FORMAT])
def test_a_column_of_a_later_version_is_no_damage(old: str, folder: Path, table: str, format_: int) -> None:
    """Regression: a ledger with an additional column was taken for damaged."""
    if format_ == FORMAT:
        run(old, folder, ledger_of(old).declaration)  # type: ignore[union-attr]
    ask(old, f"ALTER TABLE pgvector_seed.{table} ADD COLUMN note text")
    third(folder)
    for command in ("status", "plan", "verify", "apply", "status"):
        done = seed(old, folder, COMMANDS[command])
        assert done.returncode == 0, done.stdout + done.stderr
    assert applied(old)[-1] == "0003_c"


@pytest.mark.parametrize(
    "edit",
    [
        "ALTER TABLE pgvector_seed.migrations DROP COLUMN down",
        "ALTER TABLE pgvector_seed.deployment ALTER COLUMN ledger TYPE text",
        "DELETE FROM pgvector_seed.deployment",
        "UPDATE pgvector_seed.deployment SET format = 0",
        "UPDATE pgvector_seed.deployment SET format = 1",
        "ALTER TABLE pgvector_seed.deployment ALTER format TYPE text",
        (
            "ALTER TABLE pgvector_seed.deployment ALTER format DROP NOT NULL;"
            "UPDATE pgvector_seed.deployment SET format = NULL"
        ),
    ],
)
def test_a_ledger_without_what_its_format_needs_is_damaged(old: str, folder: Path, edit: str) -> None:
    run(old, folder, ledger_of(old).declaration)  # type: ignore[union-attr]
    ask(old, edit)
    with pytest.raises(RefusedError, match="is damaged"):
        ledger_of(old)


def test_what_an_old_format_says_is_understood(old: str) -> None:
    """JSON that an old version recorded is read as today's model."""
    ledger = ledger_of(old)
    assert ledger is not None
    assert ledger.format == 1
    assert ledger.declaration.tables["embeddings"].recall == DeclaredRecall(k=2, minimum=0.9)
    assert [migration.version for migration in ledger.migrations.values()] == ["0.1.0", "0.1.0"]
    ((declaration, contract),) = ask(old, "SELECT declaration, contract FROM pgvector_seed.deployment")
    assert as_data(ledger.declaration) == {**declaration, "reader_settings": {}}
    assert as_data(convert(contract, "of the test")) == ledger.contract == contract
    assert not declaration_changes(ledger, ledger.declaration)


@pytest.mark.parametrize(
    "edit",
    [
        "declaration - 'schema'",
        "declaration || '{\"owner\": 1}'",
        "jsonb_set(declaration, '{tables,embeddings,rows}', '-1')",
        "'[]'",
    ],
)
def test_a_declaration_that_cannot_be_is_damage(old: str, edit: str) -> None:
    """A declaration without a schema is an error, not one with the default schema."""
    ask(old, f"UPDATE pgvector_seed.deployment SET declaration = {edit}")
    with pytest.raises(RefusedError, match="is damaged: its declaration is not valid"):
        ledger_of(old)
