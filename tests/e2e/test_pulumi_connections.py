"""Ways to reach and log in to a server on the real engine, where two different clients must use the same one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.server import HOST, Server
from tests.conftest import PASSWORD, ask, name_of
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack
from tests.proxies import pooler
from tests.tls import Authority, Encrypted, speaking_tls

APPLIED = "SELECT xmin::text, applied_at FROM pgvector_seed.migrations"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def asking(server: Server, authority: Authority) -> Iterator[Encrypted]:
    """Yield a proxy with TLS that requires a client certificate, in front of the server."""
    with speaking_tls(server, authority.server(asks=True)) as proxy:
        yield proxy


def verified(stack: Stack, port: int, root: Path) -> None:
    """Configure the stack to connect through TLS and to trust only this authority."""
    for key, value in {"host": "localhost", "port": port, "sslmode": "verify-full", "sslrootcert": root}.items():
        stack.set(key, str(value))


def refused(output: str, *words: str) -> None:
    for word in words:
        assert word in output
    assert "Traceback" not in output
    assert PASSWORD not in output


def test_tls_is_verified_in_full_with_a_clients_certificate(
    stack: Stack, authority: Authority, asking: Encrypted
) -> None:
    """The stack's certificate files, one of them a relative path, are used, and are required."""
    certificate, key = authority.client("al")
    shutil.copy(authority.root, stack.folder / "root.crt")
    verified(stack, asking.port, Path("root.crt"))
    refused(stack.up(code=1), "connection requires a valid client certificate")
    stack.set("sslcert", str(certificate))
    stack.set("sslkey", str(key))
    stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    stack.up("--expect-no-changes")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_the_default_files_are_found_by_both_sides(
    stack: Stack, authority: Authority, asking: Encrypted, tmp_path: Path
) -> None:
    """The provider uses the files in ~/.postgresql as libpq does, and the state does not name them."""
    home = tmp_path / "home"
    folder = home / ".postgresql"
    folder.mkdir(parents=True)
    certificate, key = authority.client("al")
    for source, name in ((authority.root, "root.crt"), (certificate, "postgresql.crt"), (key, "postgresql.key")):
        shutil.copy(source, folder / name)
    stack.settings |= {"HOME": str(home), "PGHOST": "localhost", "PGPORT": str(asking.port), "PGSSLMODE": "verify-full"}
    stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    assert str(home) not in stack.pulumi("stack", "export")


def test_the_systems_authorities_are_the_same_for_both(stack: Stack, authority: Authority, server: Server) -> None:
    with speaking_tls(server, authority.server()) as proxy:
        settings = {"PGHOST": "localhost", "PGPORT": str(proxy.port), "PGSSLROOTCERT": "system"}
        stack.settings |= {**settings, "SSL_CERT_FILE": str(authority.root)}
        stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


@pytest.mark.parametrize("wrong", ["expired", "another name"])
def test_a_certificate_that_is_wrong(stack: Stack, authority: Authority, server: Server, wrong: str) -> None:
    context = authority.server(expired=True) if wrong == "expired" else authority.server("db.example.org")
    with speaking_tls(server, context) as proxy:
        verified(stack, proxy.port, authority.root)
        refused(stack.up(code=1), "certificate")
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_a_missing_root_certificate_is_told_at_preview(stack: Stack) -> None:
    verified(stack, 1, Path("nowhere.crt"))
    refused(stack.pulumi("preview", code=1), "the file nowhere.crt does not exist", "pulumi config set sslrootcert")


def test_a_service_and_a_password_file(stack: Stack, tmp_path: Path) -> None:
    """Both sides get what libpq resolves from a service and a password file; destroy needs neither file."""
    services, passfile = tmp_path / "services", tmp_path / "pgpass"
    settings = {name: stack.settings.pop(name) for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD")}
    services.write_text(
        f"[there]\nhost={settings['PGHOST']}\nport={settings['PGPORT']}\n"
        f"user={settings['PGUSER']}\ndbname={settings['PGDATABASE']}\npassfile={passfile}\n"
    )
    passfile.write_text(f"{HOST}:{settings['PGPORT']}:*:*:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passfile.chmod(0o600)
    stack.set("service", "there")
    stack.up(PGSERVICEFILE=str(services))
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING
    services.unlink()
    passfile.unlink()
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_a_pooler_is_refused(stack: Stack, server: Server) -> None:
    with pooler(server) as proxy:
        refused(
            stack.up(code=1, PGPORT=str(proxy.port)),
            "the connection goes through a pooler",
            "pulumi config set host; pulumi config set port",
        )
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def new_role(stack: Stack, options: str) -> str:
    """Create a superuser login, and let the stack use it."""
    role = f"al_{name_of(stack.conninfo).strip(chr(34)).split()[-1]}"
    ask(stack.conninfo, f"CREATE ROLE {role} SUPERUSER LOGIN {options}")
    stack.settings["PGUSER"] = role
    return role


@pytest.fixture
def role(stack: Stack) -> Iterator[str]:
    """Yield a new login that the stack uses, and drop it at the end."""
    name = new_role(stack, "PASSWORD 'token 1'")
    yield name
    ask(stack.conninfo, f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_token_that_is_another_one_each_time(stack: Stack, role: str) -> None:
    """With a new IAM token in each up no migration runs, and refresh uses the newest token."""
    stack.up(PGPASSWORD="token 1")
    before = ask(stack.conninfo, APPLIED)
    for number in (2, 3):
        ask(stack.conninfo, f"ALTER ROLE {role} PASSWORD 'token {number}'")
        refused(stack.pulumi("refresh", "--yes", "--skip-preview", code=1), "password authentication failed")
        output = stack.up(PGPASSWORD=f"token {number}")
        assert "applied in" not in output
        assert "replace" not in output
    assert ask(stack.conninfo, APPLIED) == before
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.destroy()


def test_an_expired_password(stack: Stack, role: str) -> None:
    """An up with an expired password fails with the server's error, which does not name the reason."""
    ask(stack.conninfo, f"ALTER ROLE {role} VALID UNTIL '2001-01-01'")
    refused(stack.up(code=1, PGPASSWORD="token 1"), "password authentication failed")
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
