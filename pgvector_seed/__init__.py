"""Declare a pgvector database, fill it, and prove that it answers right."""
