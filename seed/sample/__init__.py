"""The source article's sample: its three vectors, its questions, and its answers."""
