"""Notices when trials fail one after another with the same error; pure."""

from __future__ import annotations

from search.study.record import TrialRecord, TrialStatus

MAX_SAME_FAILURES = 5


class FailureStreak:
    """Counts the latest failures with the same error."""

    def __init__(self) -> None:
        self._error: str | None = None
        self._length = 0

    def add(self, record: TrialRecord) -> None:
        """A trial ended."""
        if record.status is not TrialStatus.FAILED:
            self._error, self._length = None, 0
            return
        self._length = self._length + 1 if record.error == self._error else 1
        self._error = record.error

    @property
    def verdict(self) -> str | None:
        """The reason to end the search; None while it should go on."""
        if self._length < MAX_SAME_FAILURES:
            return None
        return f"{self._length} trials in a row failed with the same error: {self._error}"
