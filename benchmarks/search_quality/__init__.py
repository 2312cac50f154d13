"""Searches replayed over recorded learning curves: how much training until a good config is found."""
