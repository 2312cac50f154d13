"""A storage in memory for tests that kill a search before any of its writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from killed import Killed
from optuna.storages import InMemoryStorage


def _nothing() -> None:
    pass


class WatchedStorage(InMemoryStorage):
    """A storage that outlives the process that writes to it, and says so before each write."""

    def __init__(self) -> None:
        super().__init__()
        self.before_write: Callable[[], None] = _nothing
        self.scores: list[tuple[int, int, float]] = []
        """(trial number, epoch, score) in the order of arrival."""

    def create_new_trial(self, *args: Any, **options: Any) -> int:
        self.before_write()
        return super().create_new_trial(*args, **options)

    def set_trial_user_attr(self, *args: Any) -> None:
        self.before_write()
        super().set_trial_user_attr(*args)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.before_write()
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self.scores.append((self.get_trial_number_from_id(trial_id), step, intermediate_value))

    def set_trial_state_values(self, *args: Any) -> bool:
        self.before_write()
        return super().set_trial_state_values(*args)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "before_write": _nothing}


def dies_after(num_writes: int) -> Callable[[], None]:
    """What to call before each write so that the one after so many is never made."""
    left = num_writes

    def die() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    return die
