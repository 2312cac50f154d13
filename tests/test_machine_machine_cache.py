"""Measurements of the machine that are kept: used again only for the same job, whole, and undisturbed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model.engine import Engine
from search.machine import machine_cache
from search.machine.machine_cache import cache_file, cache_key, is_undisturbed, keep_measured, read_measured, reuse_line
from search.machine.slots import Slots

ENGINE = Engine(precision="bf16", channels_last=True, num_threads=1)
SLOTS = Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0)
ROWS = {"engine": [{"step_ms": 9.5, "slowdown": 1.0}], "packing": [{"images_per_s": 100.0, "slowdown": 1.1}]}


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_key(image_size=16, config={"lr": 0.1})


def test_what_was_kept_is_found_for_the_same_job_only(key: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_measured(key) is None
    keep_measured(key, ENGINE, SLOTS, ROWS)
    found = read_measured(cache_key(image_size=16, config={"lr": 0.1}))
    assert found is not None
    assert (found.engine, found.slots, found.measurements) == (ENGINE, SLOTS, ROWS)
    assert read_measured(cache_key(image_size=32, config={"lr": 0.1})) is None
    for name, value in (("describe_versions", {"torch": "9"}), ("describe_hardware", {"cpu_cores": 3})):
        with monkeypatch.context() as patch:
            patch.setattr(machine_cache, name, lambda value=value: value)
            assert read_measured(cache_key(image_size=16, config={"lr": 0.1})) is None


def test_the_screen_says_where_the_speeds_come_from(key: dict[str, Any]) -> None:
    assert reuse_line(ROWS) is None
    keep_measured(key, ENGINE, SLOTS, ROWS)
    found = read_measured(key)
    assert found is not None
    line = reuse_line(found.reused())
    assert line is not None
    assert found.measured[:10] in line
    assert line.endswith(f"rm {cache_file(key)}")


@pytest.mark.parametrize("damage", ["", "{", "[]", "slots", "another", "null"])
def test_a_damaged_file_is_ignored(key: dict[str, Any], damage: str) -> None:
    keep_measured(key, ENGINE, SLOTS, ROWS)
    path = cache_file(key)
    whole = json.loads(path.read_text())
    if damage == "slots":
        damage = json.dumps({**whole, "slots": {**whole["slots"], "num_concurrent": "many"}})
    elif damage == "another":
        damage = json.dumps({**whole, "key": {**key, "image_size": 32}})
    path.write_text(damage)
    assert read_measured(key) is None


@pytest.mark.parametrize(
    "row", [{"images_per_s": 100.0, "slowdown": 1.3}, {"images_per_s": 0.0, "slowdown": 1.0}, {"slowdown": 9.0}]
)
def test_what_other_programs_disturbed_is_not_kept(key: dict[str, Any], row: dict[str, float]) -> None:
    keep_measured(key, ENGINE, SLOTS, {**ROWS, "packing": [*ROWS["packing"], row]})
    assert not cache_file(key).exists()
    assert not is_undisturbed([]), "nothing was measured"


def test_a_place_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    key = cache_key(image_size=16)
    keep_measured(key, ENGINE, SLOTS, ROWS)
    assert read_measured(key) is None


def test_without_the_variable_it_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setenv("HOME", "/home/ada")
        assert cache_file({}).parent == Path("/home/ada/.cache/convladder/machine")
