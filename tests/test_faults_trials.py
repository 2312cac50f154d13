"""Trials that fail, each in its own way, in a real search: what each costs, and when it costs the search."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from ray import cloudpickle
from tiny_space import TINY

from model.split_images import ImageTensors
from search import load_run
from search.errors import RunFailed
from search.run import run_search
from search.settings import SearchSettings
from search.tune import tuner
from search.worker.trainable import Report, TrialPlan, train_trial

pytestmark = pytest.mark.faults
# Workers cannot import this file. Ray does not annotate the function.
register: Callable[[ModuleType], None] = cloudpickle.register_pickle_by_value
register(sys.modules[__name__])


def settings_in(folder: Path, **values: Any) -> SearchSettings:
    (folder / "tiny.toml").write_text(TINY)
    given = {"num_trials": 7, "max_epochs": 4, "grace_period": 1, "reduction_factor": 2, "seed": 7, **values}
    return SearchSettings(
        run_name="tiny",
        results_dir=folder / "results",
        space=folder / "tiny.toml",
        dataset="digits",
        image_size=16,
        precision="fp32",
        cpus_per_trial=1,
        max_params=50_000,
        baseline=False,
        **given,
    )


def troubled(
    folder: Path, assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report
) -> None:
    """The real training, in which some trials meet trouble at their second epoch. Notes every start of a trial."""
    if "retraining" in assignment:
        train_trial(assignment, images, plan, report)
        return
    number = assignment["trial_number"]
    starts = folder / f"starts-{number}"
    starts.write_text(starts.read_text() + "x" if starts.exists() else "x")

    def trouble(metrics: dict[str, Any]) -> None:
        if metrics.get("epoch") == 2:
            if number == 1:
                raise ValueError("first line\nthe network is no good")
            if number == 3 or (number == 5 and starts.read_text() == "x"):
                # As the kernel does when memory runs out.
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        report(metrics)

    config = {**assignment["config"], **({"lr": 1e30, "schedule": "step"} if number == 2 else {})}
    train_trial({**assignment, "config": config}, images, plan, trouble)


def hopeless(
    folder: Path, assignment: Mapping[str, Any], images: ImageTensors, plan: TrialPlan, report: Report
) -> None:
    """Fails whatever the config. Notes every start of a trial."""
    (folder / f"starts-{assignment['trial_number']}").write_text("x")
    report({"ended": "failed", "error": "RuntimeError: no luck"})


def search_with(train: Any, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run, but for what its workers do."""
    folder = settings.results_dir.parent
    make_trainable = tuner.make_trainable

    def make_troubled(_train: Any, *rest: Any) -> Any:
        return make_trainable(functools.partial(train, folder), *rest)

    monkeypatch.setattr(tuner, "make_trainable", make_troubled)
    run_search(settings)


def starts(folder: Path) -> dict[int, int]:
    """How often each trial was started."""
    return {int(path.name.partition("-")[2]): len(path.read_text()) for path in folder.glob("starts-*")}


def test_each_trials_trouble_stays_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path, max_failures=1, grace_period=4)
    search_with(troubled, settings, monkeypatch)
    run = load_run(settings.run_dir)
    trials = run.trials.set_index("trial_number")
    assert list(trials.index) == list(range(7))
    assert starts(tmp_path) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1}, "only a worker that died starts again"
    assert trials.status[[1, 2, 3, 4]].tolist() == ["failed", "diverged", "failed", "failed"]
    assert trials.status[[0, 5, 6]].tolist() == ["completed"] * 3
    assert trials.error[1] == "ValueError: the network is no good"
    assert trials.error[2].startswith("diverged: the loss was not finite by step ")
    assert trials.error[3].startswith("the worker process died again and again")
    assert trials.error[4] == "out of memory: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert run.retrains.trial_number.tolist()[0] in (0, 5, 6)
    for record in run.records:
        assert list(record.scores) == list(range(1, record.epochs_trained + 1))


def test_the_same_error_again_and_again_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path, num_trials=20)
    with pytest.raises(RunFailed, match=r"^\d+ trials in a row failed with the same error: RuntimeError: no luck$"):
        search_with(hopeless, settings, monkeypatch)
    # Those that ran beside the fifth may have ended before it was noticed.
    assert 5 <= len(starts(tmp_path)) <= 5 + (os.cpu_count() or 1)
    trials = load_run(settings.run_dir).trials
    assert (trials.status == "failed").sum() >= 5
    assert not (settings.run_dir / "model.safetensors").exists()
