"""The Pulumi program, and the provider as the engine meets it."""
