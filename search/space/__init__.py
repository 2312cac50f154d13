"""What may be drawn, and the limits."""
