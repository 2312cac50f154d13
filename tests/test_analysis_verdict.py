"""The verdict of a run: accuracies, gains, their intervals, and the sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from fabricated_run import (
    MAX_EPOCHS,
    SPACE,
    add_finals,
    add_retrains,
    add_trial,
    add_trials,
    finalist_numbers,
    make_run,
    record_epoch,
    reread,
)

from search.estimates import proportion_interval
from search.study.record import TrialStatus
from search.study.study import RunStudy


def test_a_finished_run_has_accuracy_gain_and_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6})
    result = reread(run).result
    winner, [seed], [gain] = result.winner, result.references, result.gains
    assert winner is not None
    assert winner.test.n == 1
    assert winner.images_interval == proportion_interval(round(winner.test.mean * 400), 400)
    assert gain.difference.value == pytest.approx(winner.test.mean - seed.test.mean)
    assert gain.difference.is_clear
    assert not gain.is_over_seeds
    points = f"{100 * gain.difference.value:.2f} points better than the seed config."
    assert result.verdict.endswith(points)


def test_the_verdict_follows_the_finals(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12), retrain_top=2, retrain_seeds=3)
    first, second = finalist_numbers(run)
    best = f"The best trial so far is trial {first} with"
    assert run.result.verdict.startswith(best)
    assert "it has not been retrained" in run.result.verdict
    add_finals(run, {first: (0.5, 0.5, 0.5), second: (0.62,)})
    verdict = reread(run).result.verdict
    assert verdict.startswith(best)
    assert "; 4 of 6 retrainings" in verdict
    add_finals(run, {second: (0.62, 0.64, 0.66)})
    verdict = reread(run).result.verdict
    assert verdict.startswith(f"Trial {second} won on fresh seeds with a mean validation accuracy of 64.00 %")
    assert verdict.endswith("there is no test accuracy yet.")


def test_several_seeds_give_students_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 4))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6}, num_seeds=3)
    result = reread(run).result
    assert result.winner is not None
    assert (result.winner.test.n, result.winner.images_interval) == (3, None)
    assert result.winner.test.low is not None
    assert result.gains[0].is_over_seeds


@pytest.mark.parametrize(
    ("winner", "seed", "words"),
    [
        (0.5, 0.9, "The search did not beat the seed config: its network has"),
        (0.80, 0.79, "better than the seed config (possibly chance)."),
        (1.0, 1.0, "The search did not beat the seed config: both have a test accuracy of 100.00 %"),
    ],
)
def test_the_verdict_admits_a_search_that_was_not_worth_it(
    tmp_path: Path, winner: float, seed: float, words: str
) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 4))
    add_retrains(run, accuracies={"winner": winner, "seed": seed})
    assert words in reread(run).result.verdict


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ({"winner": 0.5, "seed": 0.9, "default": 0.1}, "The search did not beat the seed config: its network has"),
        ({"winner": 0.5, "seed": 0.1, "default": 0.9}, "The search did not beat the space's default: its network has"),
        (
            {"winner": 0.5, "seed": 0.9, "default": 0.8},
            "The search did not beat the seed config or the space's default:",
        ),
        ({"winner": 0.9, "seed": 0.1, "default": 0.2}, " points better than the space's default."),
    ],
)
def test_both_baselines_are_in_the_verdict(tmp_path: Path, accuracies: dict[str, float], words: str) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies=accuracies)
    result = reread(run).result
    assert words in result.verdict
    assert [gain.over.name for gain in result.gains] == ["seed", "default"]


def test_a_winner_that_is_the_default_is_its_own_baseline(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        number = add_trial(study, SPACE.default_config() or {}, origin="default")
        record_epoch(study, number, MAX_EPOCHS, 0.9, recorded_at=1e9, worker="host:1")
        study.finish(number, TrialStatus.COMPLETED, value=0.9)

    run = make_run(tmp_path / "run", fill)
    add_retrains(run, accuracies={"winner": 0.9})
    [winner] = run.study.retrains()
    # Left by an earlier part of the run, when another trial won.
    run.study.record_retrain(dataclasses.replace(winner, config_name="default"))
    result = reread(run).result
    assert result.verdict.startswith("The search did not beat the space's default: it chose this very config, with ")
    assert result.references == []
