"""English words with their vectors, and an index for the nearest ones."""

import pulumi

from pgvector_seed import VectorDatabase, VectorDatabaseArgs, leave_quietly_on_interrupt

leave_quietly_on_interrupt()  # no KeyboardInterrupt below the error of a resource
words = VectorDatabase(
    "words",
    VectorDatabaseArgs(
        tables={
            "words": {
                "metric": "cosine",
                "recall": {"k": 10, "minimum": 0.9},
                "index": {"method": "hnsw", "m": 16, "ef_construction": 64},
            }
        },
        reader_settings={"hnsw.ef_search": 100},  # 40, the default, finds fewer than 9 of 10 nearest words
    ),
)
pulumi.export("contract", words.contract)
