"""Tests of ``python -m seed index``."""
