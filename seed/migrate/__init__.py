"""The commands of migrations: ``python -m seed migrate``."""
