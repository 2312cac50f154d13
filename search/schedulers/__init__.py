"""Which trial goes on, and when a search ends."""
