"""What does not fit into memory, learnt from the trials that ran out of it; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from search.space.space import SearchSpace
from search.study.record import OUT_OF_MEMORY, TrialRecord, TrialStatus


class MemoryLimit:
    """A limit that is not known when a search begins: the least need of a config that was more than there is.

    A need no greater than one that was met is no limit: such a trial ran out of what its neighbours left it.
    """

    def __init__(self, need: Callable[[Mapping[str, Any]], int]) -> None:
        """`need`: config -> a number that grows with the memory that training it takes."""
        self._need = need
        self._too_much: dict[int, int] = {}
        self._most_met = 0
        self._met: dict[int, Mapping[str, Any]] = {}
        """Configs whose needs were met and are not worked out yet: most searches never ask."""

    def tell(self, record: TrialRecord) -> None:
        """How far a trial came."""
        if record.val_accuracies:
            self._met[record.number] = record.config
        elif record.status is TrialStatus.FAILED and (record.error or "").startswith(OUT_OF_MEMORY):
            self._too_much[record.number] = self._need(record.config)

    def excess(self, config: Mapping[str, Any]) -> float:
        """Above 0 for a config that needs as much as one that did not fit, or more, as a share of that; else 0."""
        limit = self._limit()
        return 0.0 if limit is None else max(0.0, (self._need(config) + 1 - limit) / limit)

    def laid_on(self, space: SearchSpace) -> SearchSpace:
        """The space with this limit among its own, as "memory"; what is learnt later counts there, too."""

        def violations(config: dict[str, Any]) -> dict[str, float]:
            own = space.violations(config)
            # Only of a config that is whole can be said what it needs.
            is_legal = all(excess <= 0 for excess in own.values())
            return {**own, "memory": self.excess(config) if is_legal else 0.0}

        return dataclasses.replace(space, constraint=violations)

    def _limit(self) -> int | None:
        if not self._too_much:
            return None
        self._most_met = max([self._most_met, *map(self._need, self._met.values())])
        self._met.clear()
        return min((need for need in self._too_much.values() if need > self._most_met), default=None)
