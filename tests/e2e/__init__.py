"""The README's commands, in a fresh clone."""
