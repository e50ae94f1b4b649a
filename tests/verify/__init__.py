"""The checks after a deployment: they find each fault, and accept every healthy database."""
