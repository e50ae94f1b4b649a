"""The server, as the provider and the migrations both reach it: one address, one password, one judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pulumi
import pulumi_postgresql as postgresql

from infra.address import Address, find

Judge = Callable[[Address], None]


class Server:
    """Where the database is and who deploys there. ``conninfo`` is for psycopg, ``provider`` for the resources.

    ``judge`` is called with the address as soon as it is known, and raises pulumi.RunError to stop there.
    """

    def __init__(
        self,
        name: str,
        connection: Mapping[str, pulumi.Input[str]],
        password: pulumi.Input[str] | None,
        judge: Judge,
        opts: pulumi.ResourceOptions,
        *,
        superuser: bool,
    ) -> None:
        self.address = _address(connection, judge)
        self.database = self.address.apply(lambda found: found.dbname)
        self.login = self.address.apply(lambda found: found.user)
        hidden = pulumi.Output.secret(password or self.address.apply(lambda found: found.password))
        both = pulumi.Output.all(self.address, hidden)
        self.conninfo = both.apply(lambda both: both[0].conninfo(both[1]))
        # Where the server is, is no secret.
        dialled = pulumi.Output.unsecret(both).apply(lambda both: both[0].dialled(both[1]))
        self.provider = postgresql.Provider(
            name,
            host=dialled.apply(lambda found: found[0]),
            port=dialled.apply(lambda found: found[1]),
            database=self.database,
            username=self.login,
            password=hidden,
            sslmode=self.address.apply(lambda found: found.sslmode),
            sslrootcert=self.address.apply(lambda found: found.files.get("sslrootcert")),
            clientcert=self.address.apply(_client_certificate),
            superuser=superuser,
            opts=opts,
        )

    def before_create(self, name: str, check: Callable[[str, str], None]) -> pulumi.ResourceHookBinding:
        """Have ``check`` look at the server, and at the name of what is about to be created there."""

        async def look(args: pulumi.ResourceHookArgs) -> None:
            known = await self.conninfo.future()
            if known is None:
                raise pulumi.RunError("the server's address is not known, and something is about to be created on it")
            check(known, (args.new_inputs or {})["name"])

        return pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook(name, look)])


def _address(connection: Mapping[str, pulumi.Input[str]], judge: Judge) -> pulumi.Output[Address]:
    known = {name: value for name, value in connection.items() if isinstance(value, str)}
    if len(known) == len(connection):  # then its faults are told before anything is declared
        return pulumi.Output.from_input(_judged(known, judge))
    return pulumi.Output.all(**connection).apply(lambda given: _judged_late(given, judge))


def _judged(given: Mapping[str, str], judge: Judge) -> Address:
    address = find(given)
    judge(address)
    return address


def _judged_late(given: Mapping[str, str], judge: Judge) -> Address:
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
