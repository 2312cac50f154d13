"""What a classifier scores that has learned nothing, beside the result; and what the page says of the images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fabricated_run import add_retrains, add_trials, make_run, reread
from trial_records import stopped_and_failed

from model.survey import ImageSurvey
from search.analysis.results import Run
from search.analysis.summary import summary_text
from search.display.display import Display
from search.live_control import note_early_end
from search.report.data import report_data
from search.report.page import report_page
from search.schedulers.steering import Steering
from search.setup.floor import floor_of, floor_sentence
from search.study.record import NewTrial
from search.study.study import RunStudy

SURVEY = ImageSurvey(
    train={"plane": 90, "car": 5, "a & b": 5},
    test={"plane": 360, "car": 20, "a & b": 20},
    passed_over={"hidden": 7, "dangling links": 2},
    unreadable={"cat/<b>.png": "it is empty"},
    sizes={"32x32": 500},
    modes={"RGB": 499, "L": 1},
    contrast=0.25,
    test_copies=3,
    near_test_copies=1,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on images of which one class has nine tenths."""
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6})
    for record in run.study.retrains():
        run.study.record_retrain(dataclasses.replace(record, test_balanced_accuracy=1 / 3))
    data = run.document.data.model_copy(update={"survey": SURVEY})
    notes = ("few images: <b> 68 epochs",)
    return Run(run.run_dir, run.document.model_copy(update={"data": data, "notes": notes}), run.study)


def test_the_floor_is_chance_and_the_largest_classs_share() -> None:
    floor = floor_of({"a": 6, "b": 1, "c": 1}, "accuracy")
    assert (floor.chance, floor.majority, floor.largest_class) == (1 / 3, 0.75, "a")
    assert floor.note == "chance 33.33 %, always a 75.00 %"


@pytest.mark.parametrize(
    ("accuracy", "low", "words"),
    [
        (0.75, 0.5, "The winner is no better than guessing: it may have learned nothing."),
        (0.80, 0.7, "The winner may be no better than guessing."),
        (0.90, 0.8, None),
        (0.90, None, None),
    ],
)
def test_an_accuracy_at_the_floor_gets_a_sentence(accuracy: float, low: float | None, words: str | None) -> None:
    text = floor_sentence(floor_of({"a": 6, "b": 1, "c": 1}, "accuracy", is_imbalanced=True), accuracy, low, 0.5)
    assert "balanced accuracy, the mean over the classes, is 50.00 %" in text
    assert ("no better" in text) == (words is not None)
    if words is not None:
        assert text.endswith(words)


def test_summary_and_page_show_the_floor_and_the_balanced_accuracy(run: Run) -> None:
    summary = summary_text(run)
    heading = next(line for line in summary.splitlines() if line.startswith("| config |"))
    row = next(line for line in summary.splitlines() if line.startswith("| winner |"))
    assert heading.split("|").index(" balanced ") == row.split("|").index(" 33.33 % ")
    assert heading.count("|") == row.count("|")
    page = report_page(report_data(run)).replace("\u00a0", " ")
    assert "| guessing | 33.33 % |" in summary
    assert "| always plane | 90.00 % |" in summary
    assert '<td>always plane</td><td class="number">90.00 %</td>' in page
    assert "chance 33.33 %, always plane 90.00 %" in page


@pytest.mark.parametrize(
    ("train", "test", "is_beside"),
    [
        ((60, 59, 8), (20, 20, 3), True),  # uneven
        ((80, 20, 20), (40, 40, 40), True),  # other shares in the test
        ((40, 40, 40), (90, 5, 5), True),  # one class has most of the test
        ((60, 40, 20), (30, 20, 10), False),
        ((9, 6, 4), (3, 2, 1), False),
    ],
)
def test_the_balanced_accuracy_stands_beside_an_accuracy_that_misleads(
    run: Run, train: tuple[int, ...], test: tuple[int, ...], is_beside: bool
) -> None:
    survey = dataclasses.replace(
        SURVEY, train=dict(zip(SURVEY.train, train, strict=True)), test=dict(zip(SURVEY.train, test, strict=True))
    )
    data = run.document.data.model_copy(update={"survey": survey})
    run = Run(run.run_dir, run.document.model_copy(update={"data": data}), run.study)
    assert ("balanced | " in summary_text(run)) == is_beside
    assert ("balanced accuracy" in report_page(report_data(run))) == is_beside


def test_the_page_shows_all_that_was_read(run: Run) -> None:
    page = report_page(report_data(run))
    for text in (
        "7 hidden",
        "2 dangling links",
        "500 32x32",
        "1 L",
        "3 test images",
        "1 that nearly are",
        "90.00 % of the training",
        "a &amp; b",
        "few images: &lt;b&gt; 68 epochs",
    ):
        assert text in page
    assert "cat/&lt;b&gt;.png (it is empty)" in page
    assert "- few images: <b> 68 epochs\n" in summary_text(run)


def test_a_run_without_a_survey_has_no_floor(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.6})
    assert reread(run).result.floor_sentence == ""
    assert "The images</h2>" not in report_page(report_data(reread(run)))


def test_a_spent_time_budget_is_told_everywhere_until_a_resume_goes_on(run: Run) -> None:
    lines: list[str] = []
    display: Any = SimpleNamespace(warning=lines.append)
    steering = Steering(num_trials=20, time_budget_s=3.0)
    note_early_end(steering, run.study, display)
    words = "time budget of 3 s used up: 12 of 20 trials had started and 12 had ended"
    assert lines[0].startswith(words)
    assert words in summary_text(run)
    assert words in report_page(report_data(run))
    note_early_end(Steering(num_trials=12, time_budget_s=3.0), run.study, display)
    assert len(lines) == 1
    assert words not in summary_text(reread(run))


def test_a_stopped_search_tells_started_trials_from_ended_ones() -> None:
    study, lines = stopped_and_failed(num_trials=6), list[str]()
    study.add_trial(NewTrial(config={}, seed=0), is_rejected=True)
    display: Any = SimpleNamespace(warning=lines.append)
    note_early_end(Steering(num_trials=8, is_stopped=True, by="anna"), study, display)
    [line] = lines
    assert "anna" in line
    assert "6 of 8 trials had started and 2 had ended" in line


def test_without_a_time_budget_nothing_is_said() -> None:
    study = RunStudy.in_memory()
    note_early_end(Steering(num_trials=20), study, Display())
    assert study.notes()["early_end"] is None
