"""The section of the documentation that each check has."""

from __future__ import annotations

from pgvector_seed.common.remedies import in_checkout


def section(name: str) -> str:
    """Return the file and the anchor of a check's section, or "" for an installation, which has no documentation."""
    return in_checkout(f"docs/verify.md#{name}")
