"""The source article's vectors, queries and answers."""

TABLE = "embeddings"
TYPE = "vector(4)"

VECTORS = {1: [0.1, 0.8, 0.5, 0.3], 2: [0.4, 0.2, 0.7, 0.9], 3: [0.9, 0.5, 0.1, 0.6]}

NEAREST_TO = [0.3, 0.1, 0.6, 0.5]
NEAREST = 2

DISTANCES_FROM = [0.5, 0.8, 0.0, -0.6]
DISTANCES = {1: 1.1045361146699684, 2: 1.7635192467093759, 3: 1.3038404993264}
TOLERANCE = 1e-6
