"""A role's password as a Pulumi resource: given or generated once, and what a server may know of it.

The server gets a SCRAM verifier and never the password, so neither its log nor its catalogue has it, and a
verifier in the catalogue that is another one is seen by a refresh. The password itself is a secret output.
"""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from psycopg import pq
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

Properties = dict[str, Any]
GENERATED_BYTES = 32  # of randomness, 43 characters


class PasswordProvider(ResourceProvider):
    """Makes a password when ``given`` or ``version`` changes. It speaks to no server."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Another one was given, or asked for."""
        return DiffResult(changes=any(olds.get(name) != news.get(name) for name in ("given", "version", "__provider")))

    def create(self, props: Properties) -> CreateResult:
        """The given password, or a new one."""
        return CreateResult("password", _outputs(props))

    def update(self, _id: str, olds: Properties, news: Properties) -> UpdateResult:
        """The same again; a generated one stays where only the provider's code has moved."""
        same = all(olds.get(name) == news.get(name) for name in ("given", "version"))
        return UpdateResult({**olds, **news} if same else _outputs(news))


def _outputs(props: Properties) -> Properties:
    password = props["given"] or secrets.token_urlsafe(GENERATED_BYTES)
    return {**props, "password": password, "verifier": verifier(password)}


def verifier(password: str) -> str:
    """What PostgreSQL stores of a password, made by libpq with a new salt (RFC 5802, SCRAM-SHA-256).

    libpq wants a connection for it, and asks it nothing when the algorithm is named.
    """
    unconnected = pq.PGconn.connect_start(b"hostaddr=no-address")
    try:
        return unconnected.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()
    finally:
        unconnected.finish()


class Password(Resource, module="pgvector_seed", name="Password"):
    """``password`` for who logs in, and ``verifier`` for the server. Both are secrets."""

    password: pulumi.Output[str]
    verifier: pulumi.Output[str]

    def __init__(
        self, name: str, given: pulumi.Input[str] | None, version: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        inputs = {"given": pulumi.Output.secret(given or ""), "version": version}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["given", "password", "verifier"])
        merged = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(PasswordProvider(), name, {**inputs, "password": None, "verifier": None}, merged)
