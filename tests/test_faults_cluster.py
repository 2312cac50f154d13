"""Nodes that vanish or freeze while a trial runs on them, in a real cluster of several nodes on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_search import ANSWER
from faults import PATIENCE_S, REPOSITORY

pytestmark = pytest.mark.faults


def search(folder: Path, fault: str) -> tuple[int, str]:
    """Exit code and answer of a search on three nodes that meets a fault; Ray's own lines come in between."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "cluster_search.py"), str(folder), fault],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S + 60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    answers = [line.removeprefix(ANSWER) for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    assert answers, done.stdout + done.stderr
    return done.returncode, answers[-1]


def story(folder: Path, fault: str) -> list[dict[str, Any]]:
    code, line = search(folder, fault)
    assert code == 0, line
    trials: list[dict[str, Any]] = json.loads(line)
    return trials


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    trials = story(tmp_path_factory.mktemp("undisturbed"), "none")
    assert [trial["num_workers"] for trial in trials] == [1, 1, 1]
    return trials


@pytest.mark.parametrize("fault", ["removed", "frozen"])
def test_a_trial_goes_on_on_another_node(fault: str, tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    trials = story(tmp_path, fault)
    assert trials[1].pop("num_workers") == 2, "it never moved"
    assert trials == [
        {key: value for key, value in trial.items() if key != "num_workers" or number != 1}
        for number, trial in enumerate(undisturbed)
    ]


def test_without_any_node_left_the_search_ends_and_can_go_on(tmp_path: Path, undisturbed: list[dict[str, Any]]) -> None:
    code, line = search(tmp_path, "all")
    assert code == 1
    assert "for 30 s, no node" in line
    trials = story(tmp_path, "none")
    assert [{**trial, "num_workers": 1} for trial in trials] == undisturbed
