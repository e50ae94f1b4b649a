"""Tests of the project's promises, on real servers and a real engine."""
