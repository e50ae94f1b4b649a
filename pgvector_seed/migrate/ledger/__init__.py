"""The record that a deployment keeps of itself: its tables and their format, read, written, and trusted or not."""
