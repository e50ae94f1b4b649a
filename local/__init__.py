"""The make targets: the embedded server, the Pulumi CLI, found or installed, and the stand-alone runner."""
