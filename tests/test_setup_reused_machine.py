"""A second run of the same job on the same machine measures nothing, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.machine import machine as machine_module
from search.machine.machine_cache import reuse_line
from search.machine.packing import Packing
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.preparation import Preparation
from search.setup.prepare import prepare

SLOTS = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
PACKING = Packing(num_trials=2, cpus_per_trial=1, images_per_s=100.0, slowdown=1.0)


def prepared(image_size: int, say: Callable[[str], None]) -> Preparation:
    return prepare(SearchSettings(run_name="r", dataset="digits", image_size=image_size), say=say)


def test_a_second_run_does_not_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    said: list[list[str]] = [[], [], []]

    def choose_slots(*_given: Any, image_size: int, **_others: Any) -> tuple[Slots, list[Packing]]:
        measured.append(image_size)
        return SLOTS, [PACKING]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine_module, "choose_slots", choose_slots)
    monkeypatch.setattr(machine_module, "choose_engine", lambda *_, **__: (Engine(), [{"slowdown": 1.0}]))
    first, second, other = (prepared(size, lines.append) for size, lines in zip((16, 16, 8), said, strict=True))
    assert measured == [16, 8]
    assert [len(lines) for lines in said] == [1, 0, 1], "only what takes time is announced"
    assert second.machine == first.machine
    assert [reuse_line(one.measurements) is None for one in (first, second, other)] == [True, False, True]
    assert second.document().measurements["packing"] == first.document().measurements["packing"]
