"""Learns which configs do not fit into memory, from the trials that ran out of it; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from search.space.space import SearchSpace
from search.study.record import OUT_OF_MEMORY, TrialRecord, TrialStatus


class MemoryLimit:
    """The smallest need that did not fit. It is unknown when a search begins.

    A trial that failed although a larger need has fitted sets no limit: its neighbours had taken the memory.
    """

    def __init__(self, need: Callable[[Mapping[str, Any]], int]) -> None:
        """`need` maps a config to a number that grows with the memory its training takes."""
        self._need = need
        self._too_much: dict[int, int] = {}
        self._most_met = 0
        self._met: dict[int, Mapping[str, Any]] = {}
        """Configs that fitted and whose need is not computed yet: most searches never need it."""

    def tell(self, record: TrialRecord) -> None:
        """Takes in how far a trial has come."""
        if record.scores:
            self._met[record.number] = record.config
        elif record.status is TrialStatus.FAILED and (record.error or "").startswith(OUT_OF_MEMORY):
            self._too_much[record.number] = self._need(record.config)

    def excess(self, config: Mapping[str, Any]) -> float:
        """How far the config's need exceeds the limit, as a share of it; 0 if it fits."""
        limit = self._limit()
        return 0.0 if limit is None else max(0.0, (self._need(config) + 1 - limit) / limit)

    def laid_on(self, space: SearchSpace) -> SearchSpace:
        """The space with this limit added as "memory". The limit follows what is learnt later."""

        def violations(config: dict[str, Any]) -> dict[str, float]:
            own = space.violations(config)
            # The need of an invalid config cannot be computed.
            is_legal = all(excess <= 0 for excess in own.values())
            return {**own, "memory": self.excess(config) if is_legal else 0.0}

        return dataclasses.replace(space, constraint=violations)

    def _limit(self) -> int | None:
        if not self._too_much:
            return None
        self._most_met = max([self._most_met, *map(self._need, self._met.values())])
        self._met.clear()
        return min((need for need in self._too_much.values() if need > self._most_met), default=None)
