"""Which trial goes on, when a search ends, and which retrainings follow."""
