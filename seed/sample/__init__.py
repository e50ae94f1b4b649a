"""The source article's sample: three vectors, two queries, and their answers."""
