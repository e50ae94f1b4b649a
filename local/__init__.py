"""What a laptop needs: the embedded server, finding or installing the Pulumi CLI, the stand-alone runner."""
