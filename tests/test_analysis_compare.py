"""Two runs side by side: the words, the numbers behind them, the terminal and the page."""

from __future__ import annotations

import io
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from fabricated_run import add_retrains, add_trials, make_run, reread
from rich.console import Console

import tune_main
from model.metrics import METRICS
from model.survey import ImageSurvey
from search.analysis.compare import Comparison, compare_runs, comparison_lines
from search.analysis.compared_sections import Section
from search.analysis.results import Run
from search.errors import UserError
from search.report.comparison_page import comparison_page, write_comparison
from search.report.pictures import compared_curves
from search.retrain.predictions import predictions_path, read_predictions
from search.study.study import RunStudy


def run_of(
    folder: Path, *, num_trials: int = 12, accuracy: float | None = None, num_seeds: int = 1, **settings: object
) -> Run:
    run = make_run(folder, lambda study: add_trials(study, num_trials), **settings)  # type: ignore[arg-type]
    if accuracy is not None:
        add_retrains(run, accuracies={"winner": accuracy, "seed": 0.6}, num_seeds=num_seeds)
    return reread(run)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    first = run_of(tmp_path / "first", accuracy=0.7)
    second = run_of(tmp_path / "second", num_trials=15, accuracy=0.9, min_receptive_field=15, seed=4)
    return compare_runs(first, second)


def section(comparison: Comparison, title: str) -> Section:
    return next(section for section in comparison.sections if section.title == title)


def values(comparison: Comparison, title: str, name: str) -> tuple[str, str]:
    return next(row.values for row in section(comparison, title).rows if row.name == name)


def test_the_verdict_is_the_paired_difference_on_the_test_images(tmp_path: Path, comparison: Comparison) -> None:
    rights = []
    for name in ("first", "second"):
        answers = read_predictions(predictions_path(tmp_path / name, "retrain:winner:0"))
        assert answers is not None
        rights.append(answers.is_right)
    gains = rights[1].astype(int) - rights[0].astype(int)
    margin = 1.959964 * gains.std(ddof=1) / np.sqrt(len(gains))
    assert comparison.verdict == (
        f"The network of second is {100 * gains.mean():.2f} points better than that of first by test "
        f"accuracy (95 % interval {100 * (gains.mean() - margin):.2f} to {100 * (gains.mean() + margin):.2f})."
    )
    shown = values(comparison, "result", "test accuracy")
    assert shown == tuple(f"{100 * right.mean():.2f} %" for right in rights)


def test_the_other_way_round_the_verdict_names_the_same_network(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, accuracy=accuracy) for name, accuracy in (("a", 0.9), ("b", 0.7))]
    assert compare_runs(*runs).verdict.startswith("The network of a is ")


def test_a_small_difference_may_be_chance(tmp_path: Path) -> None:
    verdict = compare_runs(*(run_of(tmp_path / str(acc), accuracy=acc) for acc in (0.8, 0.803))).verdict
    assert verdict.endswith("possibly by chance.") or "have the same" in verdict


def test_several_seeds_are_compared_by_their_means(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(acc), accuracy=acc, num_seeds=3) for acc in (0.6, 0.9)]
    means = [run.retrains.query("config_name == 'winner'")["test_accuracy"].mean() for run in runs]
    assert f"{100 * (means[1] - means[0]):.2f} points better" in compare_runs(*runs).verdict


def test_an_earlier_winner_of_an_extended_run_does_not_count(tmp_path: Path) -> None:
    """Cut off after the first of the new winner's two retrainings, the record has the second of the earlier winner."""
    first, second = run_of(tmp_path / "first", accuracy=0.7), run_of(tmp_path / "second", accuracy=0.9, num_seeds=2)
    [current, earlier] = [one for one in second.retrain_records if one.config_name == "winner"]
    second.study.record_retrain(replace(earlier, trial_number=earlier.trial_number + 1, test_score=0.1))
    expected = 100 * (scores_of(second)[0] - scores_of(first)[0])
    assert scores_of(second)[0] == current.test_score
    assert f"{expected:.2f} points better" in compare_runs(first, reread(second)).verdict


def scores_of(run: Run) -> list[float]:
    return [one.test_score or 0.0 for one in run.retrain_records if one.config_name == "winner"]


def test_other_images_do_not_compare(tmp_path: Path) -> None:
    first, second = run_of(tmp_path / "a", accuracy=0.7), run_of(tmp_path / "b", accuracy=0.9)
    data = second.document.data.model_copy(update={"fingerprint": "e" * 64})
    object.__setattr__(second, "document", second.document.model_copy(update={"data": data}))
    comparison = compare_runs(first, second)
    assert comparison.verdict == "The runs used different images, so their test accuracy cannot be compared."
    assert values(comparison, "settings and data", "data: fingerprint") == ("f" * 64, "e" * 64)


def with_data(run: Run, **changes: object) -> Run:
    data = run.document.data.model_copy(update=changes)
    return Run(run.run_dir, run.document.model_copy(update={"data": data}), run.study)


def test_another_test_split_does_not_compare_if_it_is_known(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, accuracy=accuracy) for name, accuracy in (("a", 0.7), ("b", 0.9))]
    surveys = [
        ImageSurvey(train={"x": 1}, test={"x": 1}, contrast=0.2, test_fingerprint=letter * 64) for letter in "abb"
    ]
    first, second, same = (with_data(run, survey=one) for run, one in zip([*runs, runs[0]], surveys, strict=True))
    assert "different images" in compare_runs(first, second).verdict
    assert "different images" not in compare_runs(same, second).verdict
    assert "different images" not in compare_runs(runs[0], second).verdict


def test_runs_of_different_metrics_are_compared_by_one_that_both_have(tmp_path: Path) -> None:
    runs = []
    for name, metric, accuracy in (("a", "accuracy", 0.9), ("b", "balanced_accuracy", 0.7)):
        run = run_of(tmp_path / name, accuracy=accuracy, metric=metric)
        answers = read_predictions(predictions_path(tmp_path / name, "retrain:winner:0"))
        assert answers is not None
        balanced = METRICS["balanced_accuracy"].measure(answers.labels, answers.probabilities).score
        for record in run.study.retrains():
            run.study.record_retrain(replace(record, test_balanced_accuracy=balanced))
        runs.append((reread(run), balanced))
    (first, best), (second, worst) = runs
    comparison = compare_runs(first, second)
    words = f"{100 * (best - worst):.2f} points better than that of b by test balanced accuracy"
    assert comparison.verdict.startswith(f"The network of a is {words} (95 % interval ")
    assert comparison.verdict.endswith("ranked by different metrics, accuracy and balanced accuracy.")
    shown = values(comparison, "result", "test balanced accuracy")
    assert shown == (f"{100 * best:.2f} %", f"{100 * worst:.2f} %")


def test_runs_of_two_other_metrics_are_compared_by_accuracy(tmp_path: Path) -> None:
    first = run_of(tmp_path / "a", accuracy=0.7, metric="auc")
    second = run_of(tmp_path / "b", accuracy=0.9, metric="macro_f1")
    verdict = compare_runs(first, second).verdict
    assert verdict.startswith("The network of b is ")
    assert "by test accuracy" in verdict


def test_lists_are_told_in_words(tmp_path: Path) -> None:
    first, second = run_of(tmp_path / "a", require=("dilated", "max_pools")), run_of(tmp_path / "b", require=())
    comparison = compare_runs(first, second)
    assert values(comparison, "settings and data", "require") == ("dilated, max_pools", "none")


def test_a_run_without_a_winner_has_its_place(tmp_path: Path) -> None:
    comparison = compare_runs(run_of(tmp_path / "a", accuracy=0.7), make_run(tmp_path / "b", lambda study: None))
    assert comparison.verdict == "No test results to compare yet: no retrained winner in b."
    assert values(comparison, "result", "test accuracy")[1] == "-"
    assert comparison.curves[1] is None
    assert 'class="plot"' not in comparison_page(comparison)


def test_only_what_differs_is_told_of_settings_spaces_and_configs(tmp_path: Path, comparison: Comparison) -> None:
    asked = section(comparison, "settings and data")
    assert {row.name for row in asked.rows} == {"seed", "min_receptive_field"}
    assert asked.num_same > 5
    assert section(comparison, "search spaces").rows == []
    assert section(comparison, "search spaces").num_same > 20


def test_spaces_are_told_in_words(tmp_path: Path) -> None:
    first, second = run_of(tmp_path / "a"), run_of(tmp_path / "b")
    space = tomllib.loads((second.run_dir / "space.toml").read_text())
    space |= {"lr": {"kind": "log", "low": 0.07, "high": 0.9}, "flip": False}
    space["network"] |= {"activation": {"kind": "choice", "values": ["gelu"]}}
    (second.run_dir / "space.toml").write_text(tomli_w.dumps(space))
    comparison = compare_runs(first, second)
    assert values(comparison, "search spaces", "lr")[1] == "0.07 to 0.9, log"
    assert values(comparison, "search spaces", "flip")[1] == "false, fixed"
    assert values(comparison, "search spaces", "activation")[1] == "one of gelu"


def test_costs_are_those_of_the_record(comparison: Comparison) -> None:
    epochs = values(comparison, "cost", "epochs in trials")
    assert [curve.costs[-1] for curve in comparison.curves if curve] == [float(text) for text in epochs]


def test_runs_of_one_name_are_told_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    comparison = compare_runs(run_of(tmp_path / "run"), run_of(tmp_path / "x" / "run"))
    assert comparison.names == (str(tmp_path / "run"), str(tmp_path / "x" / "run"))


def test_the_figure_has_a_line_for_each_run(comparison: Comparison) -> None:
    picture = compared_curves.picture(comparison)
    assert picture is not None
    traces = picture.plots[0].figure["data"]
    assert [trace["name"] for trace in traces] == ["first", "second"]
    assert traces[1]["y"] == comparison.curves[1].scores  # type: ignore[union-attr]


def test_the_terminal_shows_every_section(comparison: Comparison) -> None:
    stream = io.StringIO()
    console = Console(file=stream, soft_wrap=True)
    for line in comparison_lines(comparison):
        console.print(line)
    text = stream.getvalue()
    assert text.startswith(comparison.verdict)
    assert all(f"\n{section.title}\n" in text for section in comparison.sections)
    assert "test accuracy" in text
    assert "no difference" in text


def test_names_are_no_markup(tmp_path: Path) -> None:
    first = run_of(tmp_path / "a", dataset="<img src=x>")
    page = comparison_page(compare_runs(first, run_of(tmp_path / "b")))
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page


def test_a_page_that_cannot_be_written_is_told(comparison: Comparison) -> None:
    with pytest.raises(UserError, match=r"--page no/such/page.html cannot be written \(No such file or directory\)"):
        write_comparison(comparison, Path("no/such/page.html"))


def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        make_run(tmp_path / name, lambda study: None)
        RunStudy.in_database(f"sqlite:///{tmp_path / name / 'study.db'}", name)
        Run.load(tmp_path / name)
    page = tmp_path / "both.html"
    assert tune_main.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--page", str(page)]) == 0
    assert f"wrote {page}" in capsys.readouterr().out
    assert page.read_text().startswith("<!doctype html>")
