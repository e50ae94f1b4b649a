"""Benchmarks, each against a lower bound or against other tools."""
