"""TLS for the tests: certificates, good and bad, and a proxy that speaks it for a server that does not."""

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
    """Whoever trusts the file ``root`` trusts what this one vouches for."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.root = folder / "root.crt"
        self._authority.cert_pem.write_to_path(str(self.root))

    def server(self, *names: str, expired: bool = False, asks: bool = False) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for these names. ``asks`` for the client's as PostgreSQL does."""
        now = datetime.now(UTC)
        until = now - timedelta(days=1) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or NAMES), not_after=until).configure_cert(context)
        if asks:
            self._authority.configure_trust(context)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self, name: str) -> tuple[Path, Path]:
        """The files of a client's certificate and of its key."""
        issued = self._authority.issue_cert(f"{name}@example.org", common_name=name)
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key


class Encrypted(Proxy):
    """Offers TLS. ``root`` is the certificate of the authority that vouches for localhost and 127.0.0.1."""

    def __init__(self, server: Server, context: ssl.SSLContext, root: Path = Path()) -> None:
        self.root = root
        super().__init__(server, lambda client, backend: Link(client, backend, context))


def encrypted(server: Server, folder: Path) -> AbstractContextManager[Encrypted]:
    """TLS in front of a server: the wheels' PostgreSQL is built without."""
    authority = Authority(folder)
    return closing(Encrypted(server, authority.server(), authority.root))


def speaking_tls(server: Server, context: ssl.SSLContext) -> AbstractContextManager[Encrypted]:
    """The same, with a certificate of one's own choice."""
    return closing(Encrypted(server, context))
