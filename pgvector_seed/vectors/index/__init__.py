"""Build, replace and drop a declared index, and tell its state."""
