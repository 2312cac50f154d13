"""Killed at any moment and resumed, a run ends as the one that was never killed."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from faults import Started, new_run, num_epochs, started, story, wait_until

pytestmark = pytest.mark.faults
NUM_KILLS = int(os.environ.get("FAULTS_KILLS", "10"))
SEEDS = [int(seed) for seed in os.environ.get("FAULTS_SEEDS", "1").split(",")]
RESUME = ("--resume", "results/tiny")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with started(folder, *new_run(folder)) as run:
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    return story(folder / "results" / "tiny")


def strike(run: Started, kind: str, run_dir: Path, epochs: int) -> bool:
    """Kills one process of a run once so many epochs are recorded; whether the run ends of it."""
    wait_until(lambda: run.process.poll() is not None or num_epochs(run_dir) >= epochs)
    pid = None
    while pid is None:
        assert run.process.poll() is None, f"it ended before it could be killed: {run.wait()}"
        pid = run.pid_of(kind)
    os.kill(pid, signal.SIGKILL)
    if kind == "raylet":
        # Killed while Ray starts, it is started again.
        wait_until(lambda: run.process.poll() is not None or run.pid_of(kind) not in (None, pid))
        return run.process.poll() is not None
    return kind == "driver"


def end_after(run: Started, kind: str) -> None:
    """The last process that was killed was of this kind: how the run has to end."""
    code, output = run.wait()
    assert code == {"driver": -signal.SIGKILL, "worker": 0, "raylet": 1}[kind], output
    assert "Traceback" not in output
    if kind == "raylet":
        assert output.count("tune_main.py: error: ") == 1, output
        assert "--resume results/tiny" in output
    # Ray's agents try for a minute to tell a driver that is gone that its node is gone.
    run.assert_nothing_is_left(within_s=90)


def finish(folder: Path) -> dict[str, Any]:
    with started(folder, *RESUME) as run:
        code, output = run.wait()
        assert code == 0, output
    return story(folder / "results" / "tiny")


@pytest.mark.parametrize("kind", ["driver", "worker", "raylet"])
def test_a_killed_process_changes_nothing(kind: str, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with started(tmp_path, *new_run(tmp_path)) as run:
        strike(run, kind, tmp_path / "results" / "tiny", epochs=4)
        end_after(run, kind)
    assert finish(tmp_path) == undisturbed


@pytest.mark.parametrize("seed", SEEDS)
def test_many_random_kills_change_nothing(seed: int, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    chance = random.Random(seed)
    run_dir = tmp_path / "results" / "tiny"
    arguments: list[object] = new_run(tmp_path, "--max-failures", NUM_KILLS)
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


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_changes_nothing(damage: str, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with started(tmp_path, *new_run(tmp_path)) as run:
        strike(run, "driver", tmp_path / "results" / "tiny", epochs=4)
        end_after(run, "driver")
    newest = max(tmp_path.glob("results/tiny/checkpoints/*/*.safetensors"), key=lambda path: path.stat().st_mtime)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    assert finish(tmp_path) == undisturbed
