"""Flash messages: what was wrong with a form, for the page that comes next.

In that page's address they could be anybody's words.
"""

from __future__ import annotations

import secrets
import threading

MAX_KEPT = 1000


class Flashes:
    """Texts that are each told once. The oldest of too many are forgotten."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()

    def keep(self, text: str) -> str:
        """The key with which `take` gives the text."""
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._texts[key] = text
            if len(self._texts) > MAX_KEPT:
                self._texts.pop(next(iter(self._texts)))
        return key

    def take(self, key: str) -> str:
        """The text, once; empty for a key that was taken or never given."""
        with self._lock:
            return self._texts.pop(key, "")
