"""Declare a pgvector database: settings -> VectorDatabase -> stack outputs."""

import pulumi

from infra.database import VectorDatabase, VectorDatabaseArgs
from infra.interrupt import leave_quietly_on_interrupt
from infra.settings import load

leave_quietly_on_interrupt()
settings = load()
database = VectorDatabase(
    "database",
    VectorDatabaseArgs(
        connection=settings.connection,
        password=settings.password,
        schema=settings.schema,
        on_destroy=settings.on_destroy,
        minimum_version=settings.minimum_version,
        tables=settings.tables,
    ),
)
pulumi.export("contract", database.contract)
pulumi.export("onDestroy", settings.on_destroy)
