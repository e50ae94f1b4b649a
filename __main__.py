"""Declare a pgvector database: settings -> VectorDatabase -> stack outputs."""

import pulumi

from pgvector_seed.infra.config import load
from pgvector_seed.infra.database import VectorDatabase
from pgvector_seed.infra.interrupt import leave_quietly_on_interrupt

leave_quietly_on_interrupt()
settings = load()
database = VectorDatabase("database", settings)
pulumi.export("contract", database.contract)
pulumi.export("onDestroy", settings.on_destroy)
for kind, password in database.passwords.items():
    pulumi.export(f"{kind}Password", password)
