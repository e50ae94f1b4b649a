"""A shop's database, with its products as vectors."""

import pulumi
import pulumi_postgresql as postgresql

from pgvector_seed import VectorDatabase, VectorDatabaseArgs, leave_quietly_on_interrupt

leave_quietly_on_interrupt()  # no KeyboardInterrupt below the error of a resource
config = pulumi.Config()
shop = postgresql.Database(
    "shop",
    name=config.get("database") or "shop",
    opts=pulumi.ResourceOptions(retain_on_delete=True),  # `pulumi destroy` keeps the data
)
vectors = VectorDatabase(
    "vectors",
    VectorDatabaseArgs(
        database=shop.name,
        migrations="migrations",
        tables={"products": {"metric": "cosine"}},
        on_destroy=config.get("onDestroy") or "retain",
    ),
)
pulumi.export("database", shop.name)
pulumi.export("contract", vectors.contract)
