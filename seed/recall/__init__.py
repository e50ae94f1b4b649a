"""Measure the recall of a search, and find the setting that it needs."""
