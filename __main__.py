"""Declare a pgvector database: settings -> VectorDatabase -> stack outputs."""

import pulumi

from infra.database import VectorDatabase
from infra.interrupt import leave_quietly_on_interrupt
from infra.settings import load

leave_quietly_on_interrupt()
settings = load()
database = VectorDatabase("database", settings)
pulumi.export("contract", database.contract)
pulumi.export("onDestroy", settings.on_destroy)
for kind, password in database.passwords.items():
    pulumi.export(f"{kind}Password", password)
