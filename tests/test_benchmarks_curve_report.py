"""Recorded curves as a table, the report's numbers against plain counts, and the table as a problem to search."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.record_curves.report import (
    best_fifth_spearman,
    interval,
    markdown,
    noise,
    report,
    share_kept,
    spearman,
)
from benchmarks.record_curves.table import CurveTable, load_table, make_table, save_table
from benchmarks.search_quality.measure import Score
from benchmarks.search_quality.ours import our_search
from benchmarks.search_quality.problems import load_problems, misled

SPACE = 'fixed = 1\nx = {kind = "linear", low = 0.0, high = 1.0}\nkind = {kind = "choice", values = ["a", "b"]}\n'
NUM_CONFIGS, NUM_EPOCHS = 30, 10


def make(tmp_path: Path) -> CurveTable:
    """30 configs: `perfect` ends in the order of the full training, `reversed` the other way round; 2 are missing."""
    rng = np.random.default_rng(0)
    configs: list[dict[str, Any]] = [{"fixed": 1, "x": float(x), "kind": "a"} for x in rng.random(NUM_CONFIGS)]
    configs[0]["fixed"] = 2
    rows: list[dict[str, Any]] = []
    for place, config in enumerate(configs[:-2]):
        curve = (config["x"] * np.arange(1, NUM_EPOCHS + 1) / NUM_EPOCHS).tolist()
        for name, scores, seconds in (
            ("full", curve, 100.0),
            ("perfect", [0.1, 0.2, config["x"] / 2], 20.0),
            ("reversed", [1 - config["x"]], 10.0),
        ):
            rows.append({"config": place, "fidelity": name, "seed": 0, "scores": scores, "seconds": seconds})
    rows[3]["scores"] = rows[3]["scores"][:4]  # config 1, full: diverged in epoch 5
    meta = {"configs": configs, "space": SPACE, "costs": {"full": 10.0, "perfect": 1.5, "reversed": 1.0}}
    return make_table(meta, rows, {"full": NUM_EPOCHS, "perfect": 3, "reversed": 1})


def test_a_table_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    table = make(tmp_path)
    save_table(tmp_path / "curves.npz", table)
    again = load_table(tmp_path / "curves.npz")
    assert again.meta == table.meta
    for name in ("full", "perfect", "reversed"):
        np.testing.assert_array_equal(again.scores[name], table.scores[name])
        np.testing.assert_array_equal(again.seconds[name], table.seconds[name])
    ends = again.ends("full")
    assert ends[1] == 0.0, "diverged"
    assert np.isnan(ends[-2:]).all(), "not recorded"
    assert again.ends("full", epoch=4)[1] == pytest.approx(table.configs[1]["x"] * 0.4)
    (tmp_path / "other.npz").write_text("no table")
    with pytest.raises(SystemExit, match=r"other\.npz"):
        load_table(tmp_path / "other.npz")


def test_the_share_kept_is_what_a_count_over_all_lots_gives() -> None:
    early = np.array([0.1, 0.3, 0.3, 0.2, 0.3, 0.1, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    final = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.05, 0.02])
    # 2 of 12 go on: config 6, and one of the three with 0.3. The best fifth are configs 0, 1 and 2.
    kept = [len({6, lot} & {0, 1, 2}) / 3 for lot in (1, 2, 4)]
    assert share_kept(early, final, top=0.2) == pytest.approx(np.mean(kept))
    assert share_kept(final, final, top=0.2) == pytest.approx(2 / 3)
    assert share_kept(final, final, top=0.05) == 1.0
    assert share_kept(-final, final, top=0.05) == 0.0


def test_the_correlations_are_those_of_pandas_and_scipy() -> None:
    rng = np.random.default_rng(1)
    final = rng.random(23)
    early = final + rng.normal(0, 0.3, 23)
    assert spearman(early, final) == pytest.approx(stats.spearmanr(early, final).statistic)
    best = sorted(range(23), key=lambda place: -final[place])[:5]
    assert best_fifth_spearman(early, final) == pytest.approx(stats.spearmanr(early[best], final[best]).statistic)
    assert spearman(np.zeros(23), final) == 0.0
    assert np.isnan(best_fifth_spearman(early[:10], final[:10])), "two configs have no rank correlation worth its name"
    low, high = interval(spearman, early, final)
    assert low < spearman(early, final) < high
    draws = np.random.default_rng(0).integers(0, 23, (2000, 23))
    oracle = np.quantile([stats.spearmanr(early[draw], final[draw]).statistic for draw in draws], [0.05, 0.95])
    assert (low, high) == pytest.approx(oracle.tolist(), abs=0.05)


def test_the_report_has_a_row_for_each_look_with_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.record_curves.report.NUM_RESAMPLES", 20)
    frame = report(make(tmp_path)).set_index("fidelity")
    assert list(frame.index) == [
        "full, epoch 1",
        "full, epoch 3",
        "full, epoch 4",
        "full, epoch 9",
        "perfect",
        "reversed",
    ]
    assert set(frame["configs"]) == {NUM_CONFIGS - 2}
    # Config 1 diverged, so its end is the worst of all whatever the cheap training said.
    x = [config["x"] for config in make(tmp_path).configs[:-2]]
    final = [0.0 if place == 1 else value for place, value in enumerate(x)]
    assert frame.loc["perfect", "Spearman"] == pytest.approx(stats.spearmanr(x, final).statistic)
    assert frame.loc["reversed", "Spearman"] == pytest.approx(-stats.spearmanr(x, final).statistic)
    assert frame.loc["reversed", "top 5 % kept"] == 0.0
    assert frame.loc["perfect", "top 5 % kept"] == 1.0
    assert frame.loc["perfect", "epochs"] == 1.5
    assert frame.loc["perfect", "share of seconds"] == pytest.approx(0.2)
    assert frame.loc["full, epoch 3", "share of seconds"] == pytest.approx(0.3)
    assert markdown(report(make(tmp_path))).count("\n") == 1 + len(frame)


def test_the_noise_is_pooled_over_configs_with_several_seeds(tmp_path: Path) -> None:
    assert noise(make(tmp_path))[1] == 0
    ends = [[0.6, 0.62, 0.67], [0.5, 0.58], [0.4]]
    rows = [
        {"config": config, "fidelity": "full", "seed": seed, "scores": [0.1, end], "seconds": 1.0}
        for config, seeds in enumerate(ends)
        for seed, end in enumerate(seeds)
    ]
    deviation, num_configs = noise(make_table({"configs": [{}] * 3}, rows, {"full": 2}))
    assert num_configs == 2
    variances = [statistics.variance(seeds) for seeds in ends[:2]]
    assert deviation == pytest.approx(statistics.mean(variances) ** 0.5, rel=1e-5)


def problem_table(path: Path) -> None:
    """The table of `make` with trainings to the rungs of 10 epochs, 3 and 9, in which every config is worse by 0.1."""
    table = make(path.parent)
    for epochs in (3, 9):
        curves = table.scores["full"][:, :, [*range(epochs - 1), -1]] - 0.1
        table.scores[f"complete-{epochs}"], table.seconds[f"complete-{epochs}"] = curves, table.seconds["full"]
    save_table(path, table)


def test_a_table_is_a_problem_whose_trials_start_anew_when_they_go_on_from_a_rung(tmp_path: Path) -> None:
    path = tmp_path / "curves.npz"
    problem_table(path)
    (problem,) = load_problems(path)
    assert problem.name == "curves"
    assert len(problem.rows) == NUM_CONFIGS - 3, "config 0 is outside the space, two are missing"
    assert (problem.num_epochs, problem.first_rung, problem.starts_anew) == (NUM_EPOCHS, 3, True)
    config = problem.rows[5]
    assert problem.curve(config)[-1] == pytest.approx(config["x"])
    assert problem.training(config, 3)[-1] == pytest.approx(config["x"] - 0.1)
    assert problem.curve(problem.rows[0])[4:].tolist() == [0.0] * 6, "diverged"
    seen: dict[str, list[Score]] = {}
    for score in itertools.islice(our_search(problem, 0, 2, scheduler="promotion"), 150):
        seen.setdefault(score.trial, []).append(score)
    epochs = {tuple(score.epoch for score in scores) for scores in seen.values()}
    assert (*range(1, 4), *range(1, NUM_EPOCHS + 1)) in epochs, "sent to the end from the first rung"
    whole = next(scores for scores in seen.values() if scores[-1].epoch == NUM_EPOCHS)
    assert whole[-1].score == whole[-1].final_score == pytest.approx(whole[2].score + 0.1)
    assert [score.score for score in whole[3:6]] == [-math.inf] * 3, "the record has these epochs already"


def test_other_searches_see_the_full_training_of_a_table(tmp_path: Path) -> None:
    problem_table(tmp_path / "curves.npz")
    (problem,) = load_problems(tmp_path / "curves.npz")
    for score in itertools.islice(our_search(problem, 0, 2, scheduler="asha"), 100):
        assert score.score == pytest.approx(score.final_score * score.epoch / NUM_EPOCHS) or score.final_score == 0.0
    shuffled = misled(problem, share=0.8, seed=0)
    assert not shuffled.starts_anew
    assert shuffled.final_scores.tolist() == problem.final_scores.tolist()


def test_a_table_without_the_trainings_that_rungs_compare_is_refused(tmp_path: Path) -> None:
    save_table(tmp_path / "curves.npz", make(tmp_path))
    with pytest.raises(SystemExit, match="complete-3 and no complete-9"):
        load_problems(tmp_path / "curves.npz")
    with pytest.raises(SystemExit, match="curves"):
        load_problems(tmp_path / "curves.npz", ["other"])
