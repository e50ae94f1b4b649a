"""Load files of vectors into a table."""
