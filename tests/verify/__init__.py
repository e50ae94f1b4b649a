"""The checks after a deployment: each fault is found, and no healthy database is blamed."""
