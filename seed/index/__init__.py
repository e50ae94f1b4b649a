"""``python -m seed index``: the indexes that a stack declares."""
