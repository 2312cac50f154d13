"""Paired measurements of the project against named references; README.md holds results with their conditions."""
