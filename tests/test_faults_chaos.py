"""Killed at many random moments and resumed each time, a run ends as the one that was never killed."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from faults import RESUME, end_after, finish, new_run, num_epochs, started, story, strike, wait_until

pytestmark = pytest.mark.faults
NUM_KILLS = int(os.environ.get("FAULTS_KILLS", "10"))
SEEDS = [int(seed) for seed in os.environ.get("FAULTS_SEEDS", "1").split(",")]
SCHEDULERS = os.environ.get("FAULTS_SCHEDULERS", "promotion").split(",")


@pytest.fixture(scope="module", params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(scheduler: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with started(folder, *new_run(folder, "--scheduler", scheduler)) as run:
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    return story(folder / "results" / "tiny")


@pytest.mark.parametrize("seed", SEEDS)
def test_many_random_kills_change_nothing(
    seed: int, scheduler: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    chance = random.Random(seed)
    run_dir = tmp_path / "results" / "tiny"
    arguments: list[object] = new_run(tmp_path, "--scheduler", scheduler, "--max-failures", NUM_KILLS)
    kinds = [chance.choice(["driver", "driver", "worker", "raylet"]) for _ in range(NUM_KILLS)]
    while kinds:
        with started(tmp_path, *arguments) as run:
            wait_until((run_dir / "run.toml").exists)
            has_ended = False
            while kinds and not has_ended:
                kind = kinds.pop()
                # From at once, while Ray starts or an epoch is being written, to an epoch later.
                has_ended = strike(run, kind, run_dir, num_epochs(run_dir) + chance.randint(0, 1))
            end_after(run, kind if has_ended else "worker")
        arguments = [*RESUME]
    assert finish(tmp_path) == undisturbed
