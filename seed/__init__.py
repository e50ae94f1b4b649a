"""What goes in, what comes out, and the proof."""
