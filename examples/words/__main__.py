"""English words with their vectors, and an index for the nearest ones."""

import pulumi

from pgvector_seed import VectorDatabase, VectorDatabaseArgs, leave_quietly_on_interrupt

leave_quietly_on_interrupt()  # no KeyboardInterrupt below the error of a resource
words = VectorDatabase(
    "words",
    VectorDatabaseArgs(tables={"words": {"metric": "cosine", "index": {"method": "hnsw"}}}),
)
pulumi.export("contract", words.contract)
