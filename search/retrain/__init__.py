"""The winner from scratch on fresh seeds; the only door to the test images."""
