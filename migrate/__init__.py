"""How a database gets there: plan and apply SQL migrations, and keep the ledger of them."""

from migrate.engine import Outlook, apply, look, revert
from migrate.files import Migration, load
from migrate.plan import plan

__all__ = ["Migration", "Outlook", "apply", "load", "look", "plan", "revert"]
