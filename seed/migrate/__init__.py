"""The command group ``python -m seed migrate``."""
