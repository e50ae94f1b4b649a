"""What needs no server and no engine."""
