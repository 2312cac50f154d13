"""The benchmark of searches: what counts as found, pools, and that ours is measured by what it would hand over."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.search_quality.__main__ import build_parser, replay_missing
from benchmarks.search_quality.kept import KeptOutcomes
from benchmarks.search_quality.measure import Outcome, Score, outcome
from benchmarks.search_quality.ours import our_search
from benchmarks.search_quality.problems import Pool, Problem, load_problems, misled
from benchmarks.search_quality.rivals import RIVALS
from benchmarks.search_quality.rivals_syne_tune import SYNE_TUNE
from benchmarks.search_quality.summary import summarise, text_table, write_picture
from search.study.ranking import rank_trials
from search.study.study import RunStudy

FOLDER_OF_TABLES = '''
import numpy as np

TABLES = ("bowl",)


class Table:
    """60 configs; the best is the one nearest to x = 0.3."""

    space = {"x": ("linear", 0.0, 1.0), "beta": ("log_one_minus", 1e-3, 1.0), "kind": ("choice", ["a", "b"])}
    num_configs, num_steps = 60, 9

    def __init__(self, name):
        rng = np.random.default_rng(0)
        self.configs = [
            {"x": float(x), "beta": 1 - 10 ** float(-3 * u), "kind": "ab"[i % 2]}
            for i, (x, u) in enumerate(rng.random((60, 2)))
        ]

    def curve(self, row):
        config = self.configs[row]
        return (1 - (config["x"] - 0.3) ** 2 - 0.1 * (config["kind"] == "b")) * np.arange(1, 10) / 10
'''


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    (tmp_path / "curve_tables.py").write_text(FOLDER_OF_TABLES)
    return load_problems(tmp_path)[0]


def scores(*reports: tuple[str, int, float, float]) -> Iterator[Score]:
    for trial, epoch, score, final_score in reports:
        yield Score(trial=trial, epoch=epoch, score=score, final_score=final_score)


def found(*reports: tuple[str, int, float, float]) -> Outcome:
    return outcome(
        scores(*reports), num_epochs=2, top_score=0.9, best_score=1.0, median_score=0.5, budget=100, patience=100
    )


def test_the_furthest_trial_is_handed_over_and_the_better_of_equals() -> None:
    better_but_behind = [("a", 1, 0.1, 0.2), ("a", 2, 0.2, 0.2), ("b", 1, 0.5, 0.95)]
    assert found(*better_but_behind).found_after is None
    assert found(*better_but_behind, ("b", 2, 0.95, 0.95)).found_after == 2.0
    assert found(("a", 1, 0.1, 0.2), ("b", 1, 0.5, 0.95)).found_after == 1.0


def test_regrets_are_read_when_each_budget_is_spent() -> None:
    reports = [(str(index), 2, 0.5 + index / 100, 0.5 + index / 100) for index in range(21)]
    # After 2, 4, 10 and 20 reports the selected config ends at 0.51, 0.53, 0.59 and 0.69; best minus median is 0.5.
    assert found(*reports).regrets == (*map(pytest.approx, (0.98, 0.94, 0.82, 0.62)), None)


def test_a_search_that_loses_what_it_found_stays_found_from_its_last_find_on() -> None:
    top, poor = ("a", 1, 0.1, 0.95), ("b", 2, 0.2, 0.2)
    assert found(top, poor).found_after == 0.5
    assert found(top, poor).stays_found_after is None
    again = found(top, poor, ("c", 2, 0.95, 0.95), ("d", 1, 0.1, 0.1))
    assert (again.found_after, again.stays_found_after) == (0.5, 1.5)
    assert found(top, ("e", 1, 0.0, 0.0)).stays_found_after == 0.5


def followed(budget: float, patience: float) -> Outcome:
    reports = scores(*[("a", 1, 0.0, 0.0)] * 4, ("b", 2, 1.0, 1.0), *[("c", 2, 1.0, 1.0)] * 20)
    return outcome(reports, num_epochs=2, top_score=0.9, best_score=1, median_score=0, budget=budget, patience=patience)


def test_nothing_after_the_budget_counts() -> None:
    assert followed(2, 2).found_after is None
    assert followed(2, 3).found_after == followed(12, 12).found_after == 2.5
    assert followed(2, 3).stays_found_after is None, "it was found in the time of patience"
    assert followed(12, 12).stays_found_after == 2.5
    assert followed(1.5, 2).regrets == (1.0, 1.0, None, None, None)
    assert followed(5, 12).regrets == (1.0, 1.0, 0.0, None, None)


def test_a_pools_rows_are_drawn_as_the_space_draws_them_and_only_once(problem: Problem) -> None:
    space = problem.space
    assert all(space.parameters[key].allows(row[key]) for row in problem.rows for key in row)
    assert problem.rows[3]["beta"] == pytest.approx(1 - problem.source.configs[3]["beta"])
    pool = Pool(problem)
    taken = [pool.take_nearest({"x": 0.3, "beta": 0.1, "kind": "a"}) for _ in range(60)]
    assert sorted(map(repr, taken)) == sorted(map(repr, problem.rows))
    assert {row["kind"] for row in taken[:10]} == {"a"}
    assert abs(math.log(taken[0]["beta"] / 0.1)) < 2


def test_the_best_hundredth_of_a_pool_is_at_least_one_config(problem: Problem) -> None:
    best = max(range(60), key=lambda row: problem.source.curve(row)[-1])
    assert problem.top_score == problem.source.curve(best)[-1]
    assert np.array_equal(problem.curve(problem.rows[best]), problem.source.curve(best))


def test_shuffled_early_ranks_keep_the_ends(problem: Problem) -> None:
    shuffled = misled(problem, share=0.8, seed=1)
    assert np.array_equal(shuffled.final_scores, problem.final_scores)
    early = [[source.curve(row)[0] for row in range(60)] for source in (problem.source, shuffled.source)]
    assert sorted(early[0]) == sorted(early[1])
    assert early[0] != early[1]


CQR = "Syne Tune, ASHA with CQR"


@pytest.mark.parametrize(
    "name", [*RIVALS, *sorted(SYNE_TUNE.keys() - {CQR}), pytest.param(CQR, marks=pytest.mark.slow)]
)
def test_every_rival_trains_each_row_from_the_first_epoch_on_without_gaps(problem: Problem, name: str) -> None:
    if name in SYNE_TUNE:
        pytest.importorskip("syne_tune", reason="needs the extra [benchmarks]")
        pytest.importorskip("huggingface_hub", reason="needs the extra [benchmarks]")
    epochs: dict[str, int] = {}
    for score in {**RIVALS, **SYNE_TUNE}[name](problem, 1, 3):
        assert score.epoch == epochs.get(score.trial, 0) + 1
        epochs[score.trial] = score.epoch
    assert len(epochs) == len(problem.rows)


@pytest.mark.parametrize("scheduler", ["asha", "promotion"])
def test_ours_is_measured_by_what_it_would_hand_over(problem: Problem, scheduler: Any) -> None:
    study, epochs = RunStudy.in_memory(), dict[str, int]()
    furthest: Score | None = None
    for score in islice(our_search(problem, 1, 3, scheduler=scheduler, reduction_factor=3, study=study), 120):
        assert score.epoch == epochs.get(score.trial, 0) + 1
        epochs[score.trial] = score.epoch
        if furthest is None or (score.epoch, score.score) > (furthest.epoch, furthest.score):
            furthest = score
        assert str(rank_trials(study.trials())[0].number) == furthest.trial
    assert len(epochs) > 20


def test_what_was_replayed_before_is_not_replayed_again(problem: Problem, tmp_path: Path) -> None:
    names = ["random search", "one epoch, top 5 of 50"]
    path = tmp_path / "kept.jsonl"
    asked = ["--tables", str(tmp_path), "--workers", "2", "--budget", "3", "--patience", "4", "--keep", str(path)]

    def replayed(seeds: int, executor: Executor) -> dict[str, list[Outcome]]:
        arguments = build_parser().parse_args([*asked, "--seeds", str(seeds)])
        return replay_missing(arguments, problem.name, names, KeptOutcomes(path), executor)

    with ThreadPoolExecutor(1) as executor:
        one = replayed(1, executor)
        three = replayed(3, executor)
        lines = path.read_text().splitlines()
        assert len(lines) == 6
        path.write_text("".join(re.sub('"found_after": [^,]+', '"found_after": 0.5', line) + "\n" for line in lines))
        again = replayed(3, executor)
    assert {name: outcomes[:1] for name, outcomes in three.items()} == one
    assert {len(outcomes) for outcomes in three.values()} == {3}
    assert len(path.read_text().splitlines()) == 6
    assert {one.found_after for outcomes in again.values() for one in outcomes} == {0.5}
    path.write_text(path.read_text().replace('"stays_found_after"', '"other"'))
    with pytest.raises(SystemExit, match="--keep"):
        KeptOutcomes(path)


def test_a_summary_compares_medians_and_seeds(tmp_path: Path) -> None:
    def runs(*lengths: float | None) -> list[Outcome]:
        return [
            Outcome(found_after=length, stays_found_after=length, regrets=(0.1, None, None, None, None))
            for length in lengths
        ]

    outcomes = {
        "one": {"ours": runs(1, 2, 3), "slow": runs(4, 8, 12), "lost": runs(None, None, 20)},
        "two": {"ours": runs(2, 2, 2), "slow": runs(8, 8, 8), "lost": runs(4, 4, 4)},
    }
    summary = summarise(outcomes, ours="ours", patience=50)
    assert summary["times_less"]["slow"] == pytest.approx(4)
    assert summary["paired"]["slow"] == pytest.approx(4)
    assert summary["times_less"]["lost"] == pytest.approx(math.sqrt(25 * 2))
    assert summary["best_rival"] == {"one": "slow", "two": "lost"}
    assert summary["times_less_than_best_rival"] == pytest.approx(math.sqrt(4 * 2))
    assert summary["problems"]["one"]["lost"]["not_found"] == pytest.approx(2 / 3)
    assert summary["problems"]["one"]["lost"]["not_staying"] == pytest.approx(2 / 3)
    assert summary["problems"]["one"]["lost"]["stays_median"] is None
    assert summary["problems"]["one"]["slow"]["stays_median"] == 8
    assert "the best rival of each" in text_table(summary)
    write_picture(tmp_path / "picture.html", summary)
    assert "plotly" in (tmp_path / "picture.html").read_text()[:5000].lower()
