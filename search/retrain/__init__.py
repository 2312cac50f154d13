"""Tests the retrained networks. The only package that opens the test images."""
