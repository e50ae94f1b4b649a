"""The server, as the provider and the migrations both reach it: one address, one password, one judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.infra.address import Address, find
from pgvector_seed.infra.state import ANOTHER_DATABASE, ledger_of_state, refuse_another
from pgvector_seed.postgres.conninfo import as_role

# If the first is set where Pulumi runs, the provider's process gets its value as the second; it is kept in the state.
# The provider's driver prefers a service and PGHOSTADDR to what it is told, also in a refresh and a destroy, which do
# not run the program. It has no PGREQUIREPEER, and ends where that is set. Of PGHOST, which it is told otherwise, it
# keeps all but the first of a list: PATH is always set, and no such list.
ENV_VAR_MAPPINGS = {"PGSERVICE": "PGREQUIREPEER", "PGHOSTADDR": "PGREQUIREPEER", "PATH": "PGHOST"}

Judge = Callable[[Address], None]


class ServerAccess:
    """Where the database is and who deploys there. ``conninfo`` is for psycopg, ``provider`` for the resources.

    ``name`` is the component's. ``owners_conninfo`` is that of ``owner``, where there is one.
    ``judge`` is called with the address as soon as it is known, and raises pulumi.RunError to stop there.
    """

    def __init__(
        self,
        name: str,
        connection: Mapping[str, pulumi.Input[Any]],
        password: pulumi.Input[str] | None,
        judge: Judge,
        opts: pulumi.ResourceOptions,
        *,
        superuser: bool,
        owner: str | None,
    ) -> None:
        self.address = _address(connection, judge)
        self.database = self.address.apply(lambda found: found.dbname)
        self.login = self.address.apply(lambda found: found.user)
        hidden = pulumi.Output.secret(password or self.address.apply(lambda found: found.password))
        both = pulumi.Output.all(self.address, hidden)
        self.conninfo = both.apply(lambda both: both[0].conninfo(both[1]))
        self.owners_conninfo = self.conninfo.apply(lambda known: as_role(known, owner) if owner else known)
        # Where the server is, is no secret.
        dialled = pulumi.Output.unsecret(both).apply(lambda both: both[0].dialled(both[1]))
        self.provider = postgresql.Provider(
            f"{name}-server",
            host=dialled.apply(lambda found: found[0]),
            port=dialled.apply(lambda found: found[1]),
            database=self.database,
            username=self.login,
            password=hidden,
            sslmode=self.address.apply(lambda found: found.sslmode),
            sslrootcert=self.address.apply(lambda found: found.files.get("sslrootcert")),
            clientcert=self.address.apply(_client_certificate),
            superuser=superuser,
            opts=pulumi.ResourceOptions.merge(opts, self._guard(name)),
        )

    def before_create(self, name: str, check: Callable[[str, str], None]) -> pulumi.ResourceHookBinding:
        """Have ``check`` look at the server, and at the name of what is about to be created there."""

        async def look(args: pulumi.ResourceHookArgs) -> None:
            check(await _known(self.conninfo), (args.new_inputs or {})["name"])

        return pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook(name, look)])

    def _guard(self, name: str) -> pulumi.ResourceOptions:
        """Look before the provider is led elsewhere: it would stay there, also where the migrations are refused then.

        A refresh and a destroy would then read and drop what is there. With --run-program they come through here, too.
        """

        async def look(args: pulumi.ResourceHookArgs) -> None:
            before, after = args.old_inputs or {}, args.new_inputs or {}
            if all(before.get(key) == after.get(key) for key in ("host", "port", "database")):
                return
            ledger_id = await ledger_of_state(f"{name}-migrations")
            if ledger_id is None:
                return
            if before["database"] != after["database"]:
                raise RefusedError(ANOTHER_DATABASE.format(before["database"], after["database"]))
            refuse_another(await _known(self.owners_conninfo), ledger_id)

        hook = pulumi.ResourceHook(f"{name}-same-database", look)
        return pulumi.ResourceOptions(
            env_var_mappings=ENV_VAR_MAPPINGS, hooks=pulumi.ResourceHookBinding(before_update=[hook])
        )


async def _known(conninfo: pulumi.Output[str]) -> str:
    known = await conninfo.future()
    if known is None:
        raise pulumi.RunError("the server's address is not known, and something is about to be done on it")
    return known


def _address(connection: Mapping[str, pulumi.Input[Any]], judge: Judge) -> pulumi.Output[Address]:
    if all(isinstance(value, str | int) for value in connection.values()):
        return pulumi.Output.from_input(_judged(connection, judge))  # its faults are told before anything is declared
    return pulumi.Output.all(**connection).apply(lambda given: _judged_late(given, judge))


def _judged(given: Mapping[str, Any], judge: Judge) -> Address:
    address = find({name: _as_text(value) for name, value in given.items() if value is not None})
    judge(address)
    return address


def _as_text(value: Any) -> str:
    """Return a parameter as libpq takes it; a port that another resource tells may come as a float."""
    return str(int(value)) if isinstance(value, float) else str(value)


def _judged_late(given: Mapping[str, Any], judge: Judge) -> Address:
    try:
        return _judged(given, judge)
    except pulumi.RunError as error:
        # Raised this late, in a program with a hook, it may end the Python host before it is told
        # (seen with SDK 3.272 on Python 3.11 to 3.13: a segmentation fault).
        pulumi.log.error(str(error))
        raise


def _client_certificate(address: Address) -> postgresql.ProviderClientcertArgs | None:
    files = address.files
    if "sslcert" not in files:
        return None
    return postgresql.ProviderClientcertArgs(cert=files["sslcert"], key=files["sslkey"])
