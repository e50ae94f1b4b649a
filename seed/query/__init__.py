"""Ask for the nearest rows of a table."""
