"""What every part uses: errors and exit codes, text, the command line, files."""
