"""Declare a pgvector database: configuration -> VectorDatabase -> stack outputs."""

import pulumi

from pgvector_seed.infra.config import load
from pgvector_seed.infra.database import VectorDatabase
from pgvector_seed.infra.process import leave_quietly_on_interrupt

leave_quietly_on_interrupt()
args = load()
database = VectorDatabase("database", args)
pulumi.export("contract", database.contract)
pulumi.export("onDestroy", args.on_destroy)
for kind, password in database.passwords.items():
    pulumi.export(f"{kind}Password", password)
