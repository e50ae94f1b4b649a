"""Tests of seed/sample."""
