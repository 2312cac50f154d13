"""The report's page: complete for every kind of run, escaped, small, and its figures valid for plotly."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from fabricated_run import (
    CLASS_NAMES,
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
from plotly.offline import get_plotlyjs
from report_pages import check_page, figures_of, one_trial, unpacked, write_page

from search.analysis.summary import summary_text
from search.report.pictures.style import Picture, Plot
from search.report.rendering import render
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy
from search.study.wishes import Wish, add_wish, answer_wish


def all_failed(study: RunStudy) -> None:
    for seed in range(3):
        number = add_trial(study, SPACE.draw(random.Random(seed)))
        study.finish(number, TrialStatus.FAILED, error="RuntimeError: <boom> & more")


def all_diverged(study: RunStudy) -> None:
    number = add_trial(study, SPACE.draw(random.Random(0)))
    study.finish(number, TrialStatus.DIVERGED, error="the loss is no finite number in epoch 1, step 5")


def nothing_yet(study: RunStudy) -> None:
    study.add_trial(NewTrial(config=SPACE.draw(random.Random(0)), seed=1), is_rejected=True)


def interrupted(study: RunStudy) -> None:
    add_trials(study, 5)
    number = add_trial(study, SPACE.draw(random.Random(9)))
    record_epoch(study, number, 1, 0.4, recorded_at=1_800_000_500.0, worker="host:7")


def interrupted_after_first_epoch(study: RunStudy) -> None:
    number = add_trial(study, SPACE.draw(random.Random(9)))
    record_epoch(study, number, 1, 0.4, recorded_at=1_800_000_500.0, worker="host:7")


def interrupted_after_first_rung(study: RunStudy) -> None:
    """One trial stopped there, one let through and cut off before the next epoch."""
    for score, is_stopped in ((0.6, False), (0.4, True)):
        number = add_trial(study, SPACE.draw(random.Random(9)))
        record_epoch(study, number, 1, score, recorded_at=1_800_000_500.0 + number, worker="host:7")
        cutoff = 0.6 if is_stopped else None
        decision = RungDecision(epoch=1, score=score, cutoff=cutoff, num_scores=number + 1, is_stopped=is_stopped)
        study.record_rung(number, decision)
        if is_stopped:
            study.finish(number, TrialStatus.STOPPED)


def one_class_to_validate(study: RunStudy) -> None:
    """All images of one class: whoever answers it always is right."""
    for index in range(10):
        number = add_trial(study, SPACE.draw(random.Random(index)))
        for epoch in range(1, 10):
            record_epoch(study, number, epoch, 1.0, recorded_at=1.8e9 + 200 * index + epoch, worker="host:1")
        study.finish(number, TrialStatus.COMPLETED, value=1.0)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (one_trial, "The best trial so far is trial 0"),
        (all_failed, "No trial has a score: 3 failed or diverged."),
        (all_diverged, "No trial has a score: 1 failed or diverged."),
        (nothing_yet, "No trial has finished an epoch yet."),
        (interrupted, "it has not been retrained"),
        (interrupted_after_first_epoch, "The best trial so far is trial 0"),
        (interrupted_after_first_rung, "The best trial so far is trial 0 with a validation accuracy of 60.00"),
        (one_class_to_validate, "validation accuracy of 100.00"),
    ],
)
@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("settings", [{}, {"retrain_top": 3, "retrain_seeds": 2, "scheduler": "promotion"}])
def test_every_kind_of_run_has_a_page(
    tmp_path: Path, fill: Callable[[RunStudy], None], words: str, is_running: bool, settings: dict[str, Any]
) -> None:
    run = make_run(tmp_path / "run", fill, **settings)
    page = write_page(run, is_running=is_running)
    check_page(page)
    assert words in page
    assert words in summary_text(run).splitlines()[2].replace(" %", "\u00a0%")
    assert ('http-equiv="refresh"' in page) == is_running


@pytest.mark.parametrize("fill", [one_trial, interrupted, one_class_to_validate])
def test_a_retrained_run_has_its_winner_on_the_page(tmp_path: Path, fill: Callable[[RunStudy], None]) -> None:
    run = make_run(tmp_path / "run", fill)
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8})
    page = write_page(run)
    check_page(page)
    assert {"confusion", "classes", "retrain", "curves", "timeline"} <= set(figures_of(page))
    assert page.count("data:image/png;base64,") == 24


def test_test_images_of_a_single_class(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", one_trial, class_names=("only",))
    add_retrains(run, accuracies={"winner": 1.0, "default": 1.0})
    page = write_page(run)
    check_page(page)
    assert "The search did not beat the seed config: it chose this very config, with a test accuracy of 100.00" in page
    assert "Most confident mistakes" not in page


def test_pages_are_small(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"retrain_top": 3, "retrain_seeds": 3}
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 20), **settings)
    add_finals(run, dict.fromkeys(finalist_numbers(run), (0.8, 0.81, 0.79)))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8, "default": 0.85}, num_images=10_000, num_seeds=3)
    page = write_page(run)
    check_page(page)
    assert len(page) < 2.2e6
    assert unpacked(page, "plotly") == get_plotlyjs()
    add_trials(run.study, 480, seed=1)
    page = write_page(run)
    check_page(page)
    assert len(page) < 3.2e6
    assert len(summary_text(reread(run))) < 10_000


def test_finals_are_on_the_page_and_in_the_summary(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"retrain_top": 2, "retrain_seeds": 3, "search_examples": 1000}
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12), **settings)
    first, second = finalist_numbers(run)
    add_finals(run, {first: (0.5, 0.5, 0.5), second: (0.62, 0.64, 0.66)})
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5, "default": 0.6}, num_seeds=3)
    page, summary = write_page(run), summary_text(reread(run))
    check_page(page)
    assert f"<td>{second}, the winner</td>" in page
    assert f"| {second}, the winner |" in summary
    # 64 % on average, standard deviation 2 points; Student's t of two degrees of freedom.
    for text in (page, summary):
        assert "64.00 %" in text
        assert "59.03 to 68.97" in text
        assert "Trials trained on 1,000 images" in text
    for title in ("the seed config", "the space&#39;s default"):
        assert f"gain over {title}" in page
    assert summary.splitlines()[2].startswith("The search's network has a test accuracy of ")
    assert summary.count("over seeds).") == 2
    assert "The winner is one of the first, chosen on fresh seeds." in page


def test_without_finals_the_optimism_was_not_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5})
    page, summary = write_page(run), summary_text(reread(run))
    check_page(page)
    assert "The optimism of the selection" in page
    assert "did not measure" in summary
    assert "over the test images, one seed each" in summary
    assert "optimism of the selection</div>" not in page


def test_every_run_shows_the_pairs_that_its_rungs_ranked_wrong(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 30))
    rows = re.findall(r">(\d+) of (\d+)</td>", write_page(run))
    ends = [record.scores for record in run.records if record.status is TrialStatus.COMPLETED]
    for (wrong, pairs), epoch in zip(rows, (1, 3), strict=True):
        expected = [
            (one[epoch] < other[epoch]) != (one[MAX_EPOCHS] < other[MAX_EPOCHS]) for one, other in combinations(ends, 2)
        ]
        assert (int(wrong), int(pairs)) == (sum(expected), len(expected))


def test_trials_at_chance_level_are_named_instead_of_drawn(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        for index in range(20):
            number = add_trial(study, SPACE.draw(random.Random(index)))
            score = 0.25 + 0.002 * (index - 10) if index < 17 else 0.5
            record_epoch(study, number, 1, score, recorded_at=1.8e9 + index, worker="host:1")
            study.finish(number, TrialStatus.FAILED, error="killed")

    page = write_page(make_run(tmp_path / "run", fill))
    check_page(page)
    assert "3 of 20 trials score above chance level" in page
    assert "better than 36.38 %, three standard errors above guessing" in page
    assert not {"importances", "parallel", "slice-0"} & set(figures_of(page))
    assert {"curves", "params"} <= set(figures_of(page))


def test_what_people_asked_for_is_on_the_page_with_its_answer(tmp_path: Path) -> None:
    def fill(study: RunStudy) -> None:
        one_trial(study)
        for wish, by in ((Wish(num_trials=9), "ada"), (Wish(action="stop"), "<ben>"), (Wish(action="pause"), "cleo")):
            add_wish(study, wish, by=by)
        answer_wish(study, 1)
        answer_wish(study, 2, is_done=False, text="the search is over")

    page = write_page(make_run(tmp_path / "run", fill))
    check_page(page)
    section = page[page.index("Asked for during the run") :]
    cells = re.findall(r"<td>(.*?)</td>", section[: section.index("</table>")])
    assert [cells[first + 1 : first + 4] for first in (0, 4, 8)] == [
        ["ada", "9 trials", "done"],
        ["&lt;ben&gt;", "stop", "not done: the search is over"],
        ["cleo", "pause", "none yet"],
    ]


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", all_failed)
    page = write_page(run)
    assert "<boom>" not in page
    assert "RuntimeError: &lt;boom&gt; &amp; more" in page
    assert "<i>fell back</i>" not in page
    assert "--name &#39;&lt;b&gt;x&lt;/b&gt;&#39;" in page
    run = make_run(tmp_path / "other", one_trial)
    add_retrains(run, accuracies={"winner": 0.9})
    page = write_page(run)
    assert CLASS_NAMES[2] not in page
    assert figures_of(page)["confusion"]["data"][0]["x"][2:] == [
        "&lt;script&gt;alert('cat')&lt;/script&gt;",
        "a &amp; b",
    ]


def test_numbers_that_are_none_never_reach_the_page() -> None:
    plot = Plot("x", {"data": [{"y": [float("nan")]}]}, 100, "x")
    with pytest.raises(ValueError, match="Out of range float values"):
        render("comparison.html.j2", [Picture("x", "x", (plot,))], {})
