"""What a laptop needs: the embedded server, the Pulumi CLI found or installed, the stand-alone runner."""
