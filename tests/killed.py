"""A kill in the middle of a test."""

from __future__ import annotations


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles errors may catch it."""
