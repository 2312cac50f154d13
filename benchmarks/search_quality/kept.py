"""Outcomes kept as lines of JSON, so that a long comparison can be interrupted, continued and extended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.search_quality.measure import REGRET_BUDGETS, Outcome


@dataclass(frozen=True)
class Job:
    """One search to replay."""

    problem: str
    search: str
    seed: int
    workers: int
    budget: float
    patience: float


class KeptOutcomes:
    """What was replayed before; each new outcome is appended at once. Without a file nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._outcomes: dict[Job, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                values = json.loads(line)
                self._outcomes[Job(**values["job"])] = _outcome(values["outcome"])

    def get(self, job: Job) -> Outcome | None:
        """None if it has still to be replayed."""
        return self._outcomes.get(job)

    def add(self, job: Job, outcome: Outcome) -> None:
        """Remembers an outcome."""
        self._outcomes[job] = outcome
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps({"job": asdict(job), "outcome": asdict(outcome)}) + "\n")


def _outcome(values: dict[str, Any]) -> Outcome:
    if values.keys() != {field.name for field in fields(Outcome)} or len(values["regrets"]) != len(REGRET_BUDGETS):
        raise SystemExit("--keep: the file holds outcomes of another version of this benchmark. Give another file.")
    return Outcome(**{**values, "regrets": tuple(values["regrets"])})
