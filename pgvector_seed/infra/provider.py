"""The server's address and password, resolved once for the provider's resources and the migrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.infra.address import Address, resolve_address
from pgvector_seed.infra.state import ANOTHER_DATABASE, ledger_id_in_state, refuse_another_ledger
from pgvector_seed.postgres.conninfo import as_role

# The provider's process gets the value of the first variable under the second name. The state keeps this mapping, so it
# holds in a refresh and a destroy, too, which do not run the program. The provider's driver prefers PGSERVICE and
# PGHOSTADDR to its arguments, and fails if PGREQUIREPEER is set. Of a list in PGHOST it dials all hosts but the first
# in spite of its argument, so PGHOST gets the value of PATH, which is always set and is no such list.
ENV_VAR_MAPPINGS = {"PGSERVICE": "PGREQUIREPEER", "PGHOSTADDR": "PGREQUIREPEER", "PATH": "PGHOST"}

CheckAddress = Callable[[Address], None]


class ServerAccess:
    """Access to the database for the login that deploys: ``conninfo`` for psycopg, ``provider`` for the resources.

    ``name`` is the component's. ``owners_conninfo`` acts as ``owner``, or as the login if there is no owner.
    ``check`` is called with the address once it is known, and raises pulumi.RunError to refuse it.
    """

    def __init__(
        self,
        name: str,
        connection: Mapping[str, pulumi.Input[Any]],
        password: pulumi.Input[str] | None,
        check: CheckAddress,
        opts: pulumi.ResourceOptions,
        *,
        superuser: bool,
        owner: str | None,
    ) -> None:
        self.address = _address(connection, check)
        self.database = self.address.apply(lambda address: address.dbname)
        self.login = self.address.apply(lambda address: address.user)
        hidden = pulumi.Output.secret(password or self.address.apply(lambda address: address.password))
        both = pulumi.Output.all(self.address, hidden)
        self.conninfo = both.apply(lambda both: both[0].conninfo(both[1]))
        self.owners_conninfo = self.conninfo.apply(lambda conninfo: as_role(conninfo, owner))
        # The host and the port are no secret.
        host_and_port = pulumi.Output.unsecret(both).apply(lambda both: both[0].dialed(both[1]))
        self.provider = postgresql.Provider(
            f"{name}-server",
            host=host_and_port.apply(lambda pair: pair[0]),
            port=host_and_port.apply(lambda pair: pair[1]),
            database=self.database,
            username=self.login,
            password=hidden,
            sslmode=self.address.apply(lambda address: address.sslmode),
            sslrootcert=self.address.apply(lambda address: address.files.get("sslrootcert")),
            clientcert=self.address.apply(_client_certificate),
            superuser=superuser,
            opts=pulumi.ResourceOptions.merge(opts, self._guard(name)),
        )

    def before_create(self, name: str, check: Callable[[str, str], None]) -> pulumi.ResourceHookBinding:
        """Return a hook that calls ``check`` with the conninfo and the resource's name before it is created."""

        async def run_check(args: pulumi.ResourceHookArgs) -> None:
            check(await _known(self.conninfo), (args.new_inputs or {})["name"])

        return pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook(name, run_check)])

    def _guard(self, name: str) -> pulumi.ResourceOptions:
        """Return a hook that refuses to point the provider at another database than the one of the state's ledger.

        The provider would keep the new address even if the migrations are refused then, so that a refresh and a destroy
        would read and drop the other database's objects. Refresh and destroy run the hook with --run-program.
        """

        async def refuse_another_database(args: pulumi.ResourceHookArgs) -> None:
            before, after = args.old_inputs or {}, args.new_inputs or {}
            if all(before.get(key) == after.get(key) for key in ("host", "port", "database")):
                return
            ledger_id = await ledger_id_in_state(f"{name}-migrations")
            if ledger_id is None:
                return
            if before["database"] != after["database"]:
                raise RefusedError(ANOTHER_DATABASE.format(before["database"], after["database"]))
            refuse_another_ledger(await _known(self.owners_conninfo), ledger_id)

        hook = pulumi.ResourceHook(f"{name}-same-database", refuse_another_database)
        return pulumi.ResourceOptions(
            env_var_mappings=ENV_VAR_MAPPINGS, hooks=pulumi.ResourceHookBinding(before_update=[hook])
        )


async def _known(conninfo: pulumi.Output[str]) -> str:
    value = await conninfo.future()
    if value is None:
        raise pulumi.RunError("the server's address is not known yet, but a resource needs it")
    return value


def _address(connection: Mapping[str, pulumi.Input[Any]], check: CheckAddress) -> pulumi.Output[Address]:
    if all(isinstance(value, str | int) for value in connection.values()):
        return pulumi.Output.from_input(_resolve(connection, check))  # raises before anything is declared
    return pulumi.Output.all(**connection).apply(lambda parameters: _resolve_late(parameters, check))


def _resolve(parameters: Mapping[str, Any], check: CheckAddress) -> Address:
    address = resolve_address({name: _as_text(value) for name, value in parameters.items() if value is not None})
    check(address)
    return address


def _as_text(value: Any) -> str:
    """Return a parameter as text for libpq. A port that is an output of another resource may be a float."""
    return str(int(value)) if isinstance(value, float) else str(value)


def _resolve_late(parameters: Mapping[str, Any], check: CheckAddress) -> Address:
    try:
        return _resolve(parameters, check)
    except pulumi.RunError as error:
        # An error in an Output, in a program with a hook, may crash the Python host before it is printed
        # (SDK 3.272 on Python 3.11 to 3.13: a segmentation fault).
        pulumi.log.error(str(error))
        raise


def _client_certificate(address: Address) -> postgresql.ProviderClientcertArgs | None:
    files = address.files
    if "sslcert" not in files:
        return None
    return postgresql.ProviderClientcertArgs(cert=files["sslcert"], key=files["sslkey"])
