"""How a database gets there: plan and apply SQL migrations, and keep the ledger of them."""

from migrate.engine import apply, revert, status
from migrate.files import checksums, down_checksums, load
from migrate.plan import plan

__all__ = ["apply", "checksums", "down_checksums", "load", "plan", "revert", "status"]
