"""Verify that a database is as its contract declares, and that its readers get correct answers."""
