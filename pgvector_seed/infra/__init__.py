"""What exists, declared to Pulumi."""
