"""Speed, against the limit and against peers."""
