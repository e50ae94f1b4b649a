"""What needs no I/O."""
