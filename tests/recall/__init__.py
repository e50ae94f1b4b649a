"""Tests of ``python -m seed recall``."""
