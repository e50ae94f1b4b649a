"""Errors and exit codes, printable text, the command line and files, for all packages."""
