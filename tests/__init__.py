"""What the project promises, tried on real servers and a real engine."""
