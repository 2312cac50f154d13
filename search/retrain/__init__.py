"""Retrains the winner on fresh seeds. The only package that opens the test images."""
