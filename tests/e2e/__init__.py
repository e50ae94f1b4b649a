"""The README's commands in a fresh clone, and the program on the real engine."""
