"""Tests of ``python -m seed query``."""
