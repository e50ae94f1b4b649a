"""Tests of the build of declared indexes."""
