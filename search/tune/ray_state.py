"""Objects handed to Ray that keep their state in the study."""

from __future__ import annotations

from typing import Any


class StateIsInStudy:
    """Ray pickles what it is handed, to restore from; here that is the study's part, so the pickle is empty."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
