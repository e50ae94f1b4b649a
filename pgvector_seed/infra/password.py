"""A role's password as a Pulumi resource, configured or generated once, and its SCRAM verifier.

The server gets the verifier only, so neither its log nor its catalog has the password, and a refresh notices another
verifier in the catalog. The password is a secret output.
"""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from psycopg import pq
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

Properties = dict[str, Any]
GENERATED_BYTES = 32  # 43 characters in base64


class PasswordProvider(ResourceProvider):
    """Provides a password: ``given``, or generated anew for another ``version``. Connects to no server."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Return a change if the input password, the version or the provider's code differs."""
        return DiffResult(changes=any(olds.get(name) != news.get(name) for name in ("given", "version", "__provider")))

    def create(self, props: Properties) -> CreateResult:
        """Return the input password or a generated one, and its verifier."""
        return CreateResult("password", _outputs(props))

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """Return a new password and verifier, or the old ones if only the provider's code differs."""
        same = all(olds.get(name) == news.get(name) for name in ("given", "version"))
        return UpdateResult({**olds, **news} if same else _outputs(news))


def _outputs(props: Properties) -> Properties:
    password = props["given"] or secrets.token_urlsafe(GENERATED_BYTES)
    return {**props, "password": password, "verifier": verifier(password)}


def verifier(password: str) -> str:
    """Return the SCRAM-SHA-256 verifier of a password with a new salt (RFC 5802), as PostgreSQL stores it.

    libpq's function needs a connection object, and does not use it if the algorithm is named.
    """
    unconnected = pq.PGconn.connect_start(b"hostaddr=no-address")
    try:
        return unconnected.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()
    finally:
        unconnected.finish()


class Password(Resource, module="pgvector_seed", name="Password"):
    """A role's ``password``, and its ``verifier`` for the server. Both are secrets."""

    password: pulumi.Output[str]
    verifier: pulumi.Output[str]

    def __init__(
        self, name: str, configured: pulumi.Input[str] | None, version: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        inputs = {"given": pulumi.Output.secret(configured or ""), "version": version}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["given", "password", "verifier"])
        merged = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(PasswordProvider(), name, {**inputs, "password": None, "verifier": None}, merged)
