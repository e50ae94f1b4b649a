"""How a database gets there: plan and apply SQL migrations, and keep the ledger of them."""

from migrate.engine import CAREFUL, Done, Options, apply, revert, status, undo
from migrate.files import checksums, down_checksums, load
from migrate.plan import Plan, plan
from migrate.run import Limits
from migrate.script import refuse_faults

__all__ = [
    "CAREFUL",
    "Done",
    "Limits",
    "Options",
    "Plan",
    "apply",
    "checksums",
    "down_checksums",
    "load",
    "plan",
    "refuse_faults",
    "revert",
    "status",
    "undo",
]
