"""Every setting that cannot be is refused with its name, its rule and its value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from search.errors import UserError
from search.schedulers.rungs import reduction_factor_of
from search.settings import Scheduler, SearchSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"run_name": "../up"},
            "`name` must be letters, digits, dots, dashes or underscores, at most 80; got '../up'.",
        ),
        ({"run_name": ""}, "`name` must be letters, digits, dots, dashes or underscores, at most 80; got ''."),
        ({"run_name": "a" * 81}, "at most 80; got"),
        ({"precision": "fp16"}, "`precision` must be one of auto, bf16, fp32; got 'fp16'."),
        ({"scheduler": "pbt"}, "`scheduler` must be one of asha, promotion; got 'pbt'."),
        ({"image_size": 7}, "`image-size` must be at least 8; got 7."),
        ({"search_examples": 0}, "`search-examples` must be at least 1; got 0."),
        ({"max_params": 0}, "`max-params` must be at least 1; got 0."),
        ({"min_receptive_field": -1}, "`min-receptive-field` must be at least 0; got -1."),
        ({"num_trials": 0}, "`trials` must be at least 1; got 0."),
        ({"max_epochs": 0}, "`epochs` must be at least 1; got 0."),
        ({"grace_period": 0}, "`grace-period` must be at least 1; got 0."),
        ({"reduction_factor": 1}, "`reduction-factor` must be at least 2; got 1."),
        ({"time_budget_s": 0.5}, "`time-budget` must be at least 1; got 0.5."),
        ({"seed": -1}, "`seed` must be at least 0; got -1."),
        ({"gpus": -1}, "`gpus` must be at least 0; got -1."),
        ({"retrain_top": 0}, "`retrain-top` must be at least 1; got 0."),
        ({"retrain_seeds": 0}, "`retrain-seeds` must be at least 1; got 0."),
        ({"audit": 1.5, "scheduler": "asha"}, "`audit` must be in 0..1; got 1.5."),
        ({"audit": -0.1, "scheduler": "asha"}, "`audit` must be in 0..1; got -0.1."),
        ({"audit": float("nan"), "scheduler": "asha"}, "`audit` must be in 0..1; got nan."),
        (
            {"audit": 0.1, "scheduler": "promotion"},
            "`audit` needs scheduler asha, whose stops are final; got promotion. Say --scheduler asha, or leave "
            "--audit out.",
        ),
        ({"trials_per_gpu": 0}, "`trials-per-gpu` must be at least 1; got 0."),
        ({"cpus_per_trial": 0}, "`cpus-per-trial` must be at least 1; got 0."),
        ({"max_failures": -1}, "`max-failures` must be at least 0; got -1."),
        (
            {"grace_period": 9, "max_epochs": 8},
            "`grace-period` must be in 1..epochs; got grace-period 9 with epochs 8. Lower it or raise --epochs.",
        ),
    ],
)
def test_a_setting_out_of_bounds_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        SearchSettings(**{"run_name": "run", **values})


@pytest.mark.parametrize("name", ["a", "Run-1.2_b", "7", "a" * 80])
def test_usual_names_are_allowed(name: str) -> None:
    assert SearchSettings(run_name=name).run_dir == Path("results") / name


def test_the_lowest_of_everything_is_allowed() -> None:
    settings = SearchSettings(
        run_name="r", image_size=8, num_trials=1, max_epochs=1, grace_period=1, reduction_factor=2, time_budget_s=1
    )
    assert settings.grace_period == settings.max_epochs


def test_the_record_is_in_the_run_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert SearchSettings(run_name="r", results_dir=tmp_path).storage_url == f"sqlite:///{tmp_path}/r/study.db"
    assert SearchSettings(run_name="r", storage="postgresql://h/n").storage_url == "postgresql://h/n"


@pytest.mark.parametrize(("scheduler", "usual"), [("promotion", 6), ("asha", 3)])
def test_how_many_go_on_depends_on_the_scheduler(scheduler: Scheduler, usual: int) -> None:
    settings = SearchSettings(run_name="r", scheduler=scheduler)
    assert settings.resolved("cpu").reduction_factor == reduction_factor_of(settings) == usual
    asked = SearchSettings(run_name="r", scheduler=scheduler, reduction_factor=4)
    assert asked.resolved("cpu").reduction_factor == reduction_factor_of(asked) == 4
