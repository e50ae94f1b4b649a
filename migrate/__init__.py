"""How a database gets there: plan and apply SQL migrations, and keep the ledger of them."""

from migrate.engine import Options, apply, revert, status, undo
from migrate.files import checksums, down_checksums, load
from migrate.plan import plan
from migrate.run import Limits

__all__ = ["Limits", "Options", "apply", "checksums", "down_checksums", "load", "plan", "revert", "status", "undo"]
