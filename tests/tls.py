"""TLS for the tests: certificates, good and bad, and a proxy that terminates TLS for a server built without it."""

from __future__ import annotations

import ssl
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from local.server import HOST, Server
from tests.proxies import Link, Proxy

NAMES = ("localhost", HOST)


class Authority:
    """A certificate authority. ``root`` is the file of its own certificate."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.root = folder / "root.crt"
        self._authority.cert_pem.write_to_path(str(self.root))

    def server(self, *names: str, expired: bool = False, asks: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context, with a certificate for these names. ``asks`` requests one from the client."""
        now = datetime.now(UTC)
        until = now - timedelta(days=1) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or NAMES), not_after=until).configure_cert(context)
        if asks:
            self._authority.configure_trust(context)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self, name: str) -> tuple[Path, Path]:
        """Return the files of a client certificate and of its key."""
        issued = self._authority.issue_cert(f"{name}@example.org", common_name=name)
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key


class Encrypted(Proxy):
    """A proxy that offers TLS. ``root`` is the certificate of its authority."""

    def __init__(self, server: Server, context: ssl.SSLContext, root: Path = Path()) -> None:
        self.root = root
        super().__init__(server, lambda client, backend: Link(client, backend, context))


def encrypted(server: Server, folder: Path) -> AbstractContextManager[Encrypted]:
    """Return a proxy with TLS in front of a server: PostgreSQL in the wheels is built without TLS."""
    authority = Authority(folder)
    return closing(Encrypted(server, authority.server(), authority.root))


def speaking_tls(server: Server, context: ssl.SSLContext) -> AbstractContextManager[Encrypted]:
    """Return a proxy in front of a server that offers TLS with this context."""
    return closing(Encrypted(server, context))
