"""The commands that fill a database, verify it, and migrate its tables."""
