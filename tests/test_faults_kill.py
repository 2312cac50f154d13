"""Killed, frozen, copied or damaged and resumed, a run ends as the one that nothing happened to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from faults import NUM_TRIALS, RESUME, end_after, finish, new_run, num_epochs, started, story, strike, wait_until

from search import load_run

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with started(folder, *new_run(folder)) as run:
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    return story(folder / "results" / "tiny")


@pytest.mark.core_faults
@pytest.mark.parametrize("kind", ["driver", "worker", "raylet"])
def test_a_killed_process_changes_nothing(kind: str, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with started(tmp_path, *new_run(tmp_path)) as run:
        strike(run, kind, tmp_path / "results" / "tiny", epochs=4)
        end_after(run, kind)
    assert finish(tmp_path) == undisturbed


def test_a_frozen_raylet_ends_a_search_that_can_go_on(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with started(tmp_path, *new_run(tmp_path)) as run:
        wait_until(lambda: num_epochs(tmp_path / "results" / "tiny") >= 4)
        raylet = run.pid_of("raylet")
        assert raylet is not None
        os.kill(raylet, signal.SIGSTOP)
        end_after(run, "raylet")
    assert finish(tmp_path) == undisturbed


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_at_a_time_killed_lose_nothing_and_every_stop_is_right(tmp_path: Path) -> None:
    """The order in which scores arrive is free here, so there is no story to compare with."""
    run_dir = tmp_path / "results" / "tiny"
    arguments: list[object] = new_run(tmp_path)
    for epochs in (4, 9, 14):
        with started(tmp_path, *arguments, num_cores=2) as run:
            strike(run, "driver", run_dir, epochs)
            end_after(run, "driver")
        arguments = [*RESUME]
    with started(tmp_path, *RESUME, num_cores=2) as run:
        code, output = run.wait()
        assert code == 0, output
    records = [record for record in load_run(run_dir).records if record.status != "rejected"]
    assert len(records) == NUM_TRIALS
    assert {record.status for record in records} <= {"completed", "stopped"}
    for record in records:
        assert list(record.scores) == list(range(1, record.epochs_trained + 1))
        assert record.epochs_trained == 6 or record.rungs[-1].is_stopped
        for rung in record.rungs:
            assert rung.score == record.scores[rung.epoch]
            assert (rung.cutoff is None) is rung.is_at_chance
            assert rung.num_scores <= sum(rung.epoch in other.scores for other in records)
            if not rung.is_stopped:
                assert rung.cutoff is None or rung.is_sent_to_end or rung.score >= rung.cutoff


def test_a_folder_copied_while_it_is_written_ends_the_same(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    run_dir, elsewhere = tmp_path / "results" / "tiny", tmp_path / "copy"
    with started(tmp_path, *new_run(tmp_path)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 4)
        for path in sorted(run_dir.rglob("*")):
            target = elsewhere / path.relative_to(tmp_path)
            # Checkpoints come and go meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
        run.process.kill()
        run.assert_nothing_is_left(within_s=90)
    with started(elsewhere, *RESUME) as run:
        code, output = run.wait()
    if code == 2:
        assert "study.db is damaged" in output, output
        return
    assert code == 0, output
    assert story(elsewhere / "results" / "tiny") == undisturbed


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
