"""The database's resources, declared to Pulumi."""
