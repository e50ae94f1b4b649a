"""examples/component, a user's own program, with the wheel installed and without the checkout."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.server import Server
from local.workspace import ROOT
from tests.conftest import ask, conninfo
from tests.e2e.conftest import Stack, install, kill_all_in, readme_block, run, succeed

EXAMPLE = ROOT / "examples" / "component"
README = "examples/component/README.md"
FIRST, SECOND = "0001_create_products", "0002_b"
THERE = "SELECT to_regclass('products')::text, to_regnamespace('pgvector_seed')::text, to_regtype('vector')::text"
EVERYTHING, NOTHING = [("products", "pgvector_seed", "vector")], [(None, None, None)]
# Advice that needs the checkout, or its program.
OURS = ("python -m", "make ", "pulumi config set")


@pytest.fixture(scope="session")
def environment(cli: None, project: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """Return an environment with the example's requirements.txt, pgvector-seed from its wheel."""
    folder = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("installed") / "shop")
    environment = install(wheel, project / "requirements.txt", folder)
    (folder / "wheels").mkdir()
    shutil.copy(wheel, folder / "wheels")
    pip = str(environment / "bin" / "pip")
    succeed([pip, "install", "--no-index", "--requirement", "requirements.txt"], folder)
    return environment


@dataclass
class Shop:
    """The example's stack, and the database that it creates."""

    stack: Stack
    database: str

    @property
    def conninfo(self) -> str:
        """The database's conninfo."""
        return make_conninfo(self.stack.conninfo, dbname=self.database)

    def move_into(self, main: str) -> None:
        """Move the program and the migrations into a folder that Pulumi.yaml names as main."""
        folder = self.stack.folder
        (folder / main).mkdir()
        for name in ("__main__.py", "migrations"):
            (folder / name).rename(folder / main / name)
        with (folder / "Pulumi.yaml").open("a") as file:
            file.write(f"main: {main}\n")
        self.run("bash", "-euc", readme_block("run: main", README))

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command with the stack's settings only, and assert its exit code."""
        done = run(words, self.stack.folder, **self.stack.settings, PULUMI_OPTION_YES="true")
        assert done.returncode == code, done.stdout
        return done.stdout

    def migrate(self, *words: str) -> None:
        """Run ``pgvector-seed migrate`` on the shop's database."""
        self.run("env", f"PGDATABASE={self.database}", ".venv/bin/pgvector-seed", "migrate", *words)


@pytest.fixture
def shop(environment: Path, server: Server, empty_database: str, tmp_path: Path) -> Iterator[Shop]:
    """Yield the example in its own folder, and drop its database at the end."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "shop")
    (folder / ".venv").symlink_to(environment)
    stack = Stack(folder, empty_database, {"PGSSLMODE": "disable"})
    del stack.settings["PGDATABASE"]
    name = f"shop {secrets.token_hex(4)}"
    stack.set("database", name)
    yield Shop(stack, name)
    kill_all_in(stack.folder)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    ask(conninfo(server, "postgres"), drop.as_string())


def test_nothing_comes_from_the_checkout(shop: Shop) -> None:
    where = "import pgvector_seed.seed.cli, sys; print(pgvector_seed.seed.cli.__file__, *sys.path)"
    printed = shop.run(".venv/bin/python", "-c", where)
    assert printed.startswith(str(shop.stack.folder / ".venv" / "lib"))
    assert str(ROOT) not in printed


@pytest.mark.parametrize("main", ["", "infra"])
def test_from_nothing_to_verified_and_back(shop: Shop, main: str) -> None:
    """The README's commands work, and the provider finds the migrations from any main in Pulumi.yaml."""
    stack = shop.stack
    if main:
        shop.move_into(main)
    assert "8 to create" in stack.pulumi("preview")
    stack.pulumi("stack", "rm", "--yes", "--preserve-config")
    printed = shop.run("bash", "-euc", readme_block("run: component", README))
    assert f"{FIRST} applied in" in printed
    assert "pass  index       public.products" in printed
    assert "15 checks: 11 passed, 1 skipped, 3 not declared" in printed
    assert ask(shop.conninfo, THERE) == EVERYTHING
    stack.up("--expect-no-changes")
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")

    stack.write(f"{main or '.'}/migrations/{SECOND}.up.sql", "CREATE TABLE b ()")
    stack.write(f"{main or '.'}/migrations/{SECOND}.down.sql", "DROP TABLE b")
    assert f"{SECOND} applied in" in stack.up()
    ask(shop.conninfo, "DROP INDEX products_embedding")
    wrong = shop.run(".venv/bin/pgvector-seed", "verify", "--stack", "dev", code=1)
    assert "fail  index       public.products" in wrong

    stack.destroy()
    assert ask(shop.conninfo, THERE) == EVERYTHING
    assert json.loads(stack.pulumi("stack", "export"))["deployment"].get("resources", []) == []


@pytest.mark.parametrize(("main", "words"), [("", []), ("infra", []), ("infra", ["--run-program"])])
def test_one_state_from_two_machines(shop: Shop, main: str, words: list[str]) -> None:
    """A pipeline finds a laptop's deployment unchanged in its own checkout, and undoes it by its own files."""
    stack = shop.stack
    program = stack.folder / "__main__.py"
    absolute = 'Path(__file__).resolve().parent / "migrations"'
    text = program.read_text().replace('migrations="migrations"', f"migrations={absolute}")
    program.write_text(f"from pathlib import Path\n{text}")
    if main:
        shop.move_into(main)
    stack.set("onDestroy", "revert")
    stack.up()
    assert str(stack.folder) not in stack.pulumi("stack", "export", "--show-secrets")
    stack.folder = stack.folder.rename(stack.folder.with_name("another checkout"))
    stack.up("--expect-no-changes")
    other = f"writes_all_{secrets.token_hex(4)}"  # with whom the downs that the ledger keeps are not run
    ask(shop.conninfo, f"CREATE ROLE {other}; GRANT pg_write_all_data TO {other}")
    try:
        stack.pulumi("destroy", *words, "--yes", "--skip-preview")
    finally:
        ask(shop.conninfo, f"DROP ROLE {other}")
    assert ask(shop.conninfo, THERE) == NOTHING


def test_what_is_wrong_comes_with_a_remedy_that_works_here(shop: Shop) -> None:
    """Regression: remedies named our own program's configuration, and commands of the checkout."""
    stack, second = shop.stack, f"migrations/{SECOND}.up.sql"

    def refused(words: str, *command: str, **settings: str) -> None:
        output = stack.pulumi(*(command or ("preview",)), code=1, **settings)
        assert words in output
        assert "Traceback" not in output
        assert not [word for word in OURS if word in output], output

    refused("VectorDatabaseArgs(host=", PGHOST="/tmp")
    refused('VectorDatabaseArgs(sslmode="verify-full")', PGHOST="db.example", PGSSLMODE="require")
    stack.set("onDestroy", "keep")
    refused("on_destroy: must be one of retain, revert; got 'keep'")
    stack.set("onDestroy", "retain")

    stack.up()
    ask(shop.conninfo, "DROP SCHEMA pgvector_seed CASCADE")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    refused(f"pgvector-seed migrate baseline {FIRST}", "up", "--yes", "--skip-preview")
    shop.migrate("baseline", FIRST)
    stack.write(second, "CREATE TABLE b ()")
    stack.up()
    stack.write(second, "CREATE TABLE b (id int)")
    refused(f"pgvector-seed migrate repair {SECOND}")
    ask(shop.conninfo, "ALTER TABLE b ADD id int")
    shop.migrate("repair", SECOND)
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up()
    (stack.folder / second).unlink()
    refused("VectorDatabaseArgs(allow_down=True)")
    (stack.folder / "migrations").rename(stack.folder / "sql")
    refused(f"no folder migrations in {stack.folder}, where the program runs")


def test_a_failing_migration_is_told_without_a_traceback(shop: Shop) -> None:
    """Regression: the engine interrupted the program, and a KeyboardInterrupt's traceback followed the error."""
    shop.stack.write(f"migrations/{SECOND}.up.sql", "SELECT nope")
    output = shop.stack.up(code=1)
    assert f"MigrationError: {SECOND}.up.sql, line 1" in output
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ('on_destroy=config.get("nothing")', "on_destroy: must be text; got None"),
        ('allow_down=config.get("allowDown")', "allow_down: must be True or False; got 'false'"),
    ],
)
def test_what_the_configuration_returns_is_no_argument_as_it_is(shop: Shop, argument: str, words: str) -> None:
    """Regression: None damaged the ledger for good, and the text "false" was true, so tables were dropped."""
    stack = shop.stack
    stack.write(f"migrations/{SECOND}.up.sql", "CREATE TABLE b ()")
    stack.write(f"migrations/{SECOND}.down.sql", "DROP TABLE b")
    stack.up()
    (stack.folder / "migrations" / f"{SECOND}.up.sql").unlink()
    (stack.folder / "migrations" / f"{SECOND}.down.sql").unlink()
    stack.set("allowDown", "false")
    program = stack.folder / "__main__.py"
    program.write_text(
        program.read_text()
        .replace('        on_destroy=config.get("onDestroy") or "retain",\n', "")
        .replace('migrations="migrations",', f'migrations="migrations", {argument},')
    )
    for command in (["preview"], ["up", "--yes", "--skip-preview"]):
        output = stack.pulumi(*command, code=1)
        assert words in output
        assert "Traceback" not in output
    query = "SELECT to_regclass('b')::text, declaration ->> 'on_destroy' FROM pgvector_seed.deployment"
    assert ask(shop.conninfo, query) == [("b", "retain")]
