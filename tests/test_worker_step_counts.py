"""Progress within an epoch: what is reported, and how often."""

from __future__ import annotations

import pytest

from search.worker.step_counts import StepCount, StepReports


def test_the_first_step_is_reported_at_once_and_others_at_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    seen: list[StepCount] = []

    def report(count: StepCount) -> None:
        nonlocal now
        now += 0.0625  # the training waits as long as this
        seen.append(count)

    steps = StepReports(report)
    for step in range(1, 121):
        steps(1, step, 120)
        now += 0.5
    # 0.0625 s are 0.5 % of 12.5 s.
    assert seen == [StepCount(1, step, 120) for step in (1, 26, 51, 76, 101)]
    assert seen[1].fraction == 26 / 120


def test_the_end_of_an_epoch_is_not_reported_twice() -> None:
    seen: list[StepCount] = []
    StepReports(seen.append)(1, 1, 1)
    assert seen == []
