"""What cheap trainings foretell: `python -m benchmarks.record_curves.report TABLE.npz`.

Compares the end of each cheaper training, and the full training at a few early epochs, with the full training's end.
Intervals are 90 % bootstrap intervals over configs. A training that diverged counts as the worst.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.record_curves.fidelities import FULL
from benchmarks.record_curves.table import CurveTable, load_table
from search.estimates import rank_correlation

EARLY_EPOCHS = (1, 3, 4, 9)
"""Epochs at which the full training itself is looked at."""
GOING_ON = 1 / 6
CONFIDENCE = 0.9
NUM_RESAMPLES = 1000

Scores = NDArray[np.float64]
Measure = Callable[[Scores, Scores], float]


class Look(NamedTuple):
    """Scores of all configs at one fidelity, (C,) each; NaN where it was not recorded."""

    name: str
    scores: Scores
    epochs: float
    """Images trained on, in epochs of the full training."""
    seconds: Scores


def looks(table: CurveTable) -> Iterator[Look]:
    """The full training at early epochs, then the ends of the cheaper ones."""
    max_epochs = table.scores[FULL.name].shape[2]
    full_s = table.seconds[FULL.name][:, 0].astype(float)
    for epoch in (epoch for epoch in EARLY_EPOCHS if epoch < max_epochs):
        early = table.ends(FULL.name, epoch=epoch)
        yield Look(f"full, epoch {epoch}", early, epoch, full_s * epoch / max_epochs)
    for name in table.scores:
        if name != FULL.name:
            yield Look(name, table.ends(name), table.meta["costs"][name], table.seconds[name][:, 0].astype(float))


def spearman(early: Scores, final: Scores) -> float:
    """-1..1; 0 if one side is constant."""
    return rank_correlation(early.tolist(), final.tolist()) or 0.0


def best_fifth_spearman(early: Scores, final: Scores) -> float:
    """Spearman's rho among the fifth of the configs that end best, rounded up; NaN for fewer than three."""
    best = np.argsort(-final, kind="stable")[: math.ceil(len(final) / 5)]
    return spearman(early[best], final[best]) if len(best) > 2 else math.nan


def share_kept(early: Scores, final: Scores, *, top: float) -> float:
    """Expected share of the `top` share of final scores that goes on when the best sixth of `early` does.

    Both counts are rounded up. Equal early scores go on by lot.
    """
    best = np.argsort(-final, kind="stable")[: math.ceil(top * len(final))]
    num_on = math.ceil(GOING_ON * len(early))
    cutoff = np.sort(early)[-num_on]
    by_lot = (num_on - np.sum(early > cutoff)) / np.sum(early == cutoff)
    return float(np.mean(np.where(early[best] == cutoff, by_lot, early[best] > cutoff)))


def top_twentieth_kept(early: Scores, final: Scores) -> float:
    """Share of the best 5 % that goes on."""
    return share_kept(early, final, top=0.05)


def top_fifth_kept(early: Scores, final: Scores) -> float:
    """Share of the best fifth that goes on; 5/6 at most."""
    return share_kept(early, final, top=0.2)


MEASURES: dict[str, Measure] = {
    "Spearman": spearman,
    "in the best fifth": best_fifth_spearman,
    "top 5 % kept": top_twentieth_kept,
    "top fifth kept": top_fifth_kept,
}


def report(table: CurveTable) -> pd.DataFrame:
    """A row for each look: configs, the measures with their intervals, and the cost."""
    final, full_s = table.ends(FULL.name), table.seconds[FULL.name][:, 0].astype(float)
    rows = []
    for look in looks(table):
        known = ~np.isnan(look.scores) & ~np.isnan(final)
        if known.sum() < 2:
            continue
        row: dict[str, object] = {"fidelity": look.name, "configs": int(known.sum())}
        for title, measure in MEASURES.items():
            row[title] = measure(look.scores[known], final[known])
            row[f"{title}, low"], row[f"{title}, high"] = interval(measure, look.scores[known], final[known])
        row |= {"epochs": look.epochs, "share of seconds": float(np.median((look.seconds / full_s)[known]))}
        rows.append(row)
    return pd.DataFrame(rows)


def interval(measure: Measure, early: Scores, final: Scores) -> tuple[float, float]:
    """Percentile bootstrap over configs; NaN where the measure is."""
    if math.isnan(measure(early, final)):
        return math.nan, math.nan
    found = stats.bootstrap(
        (early, final),
        measure,
        paired=True,
        vectorized=False,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def noise(table: CurveTable) -> tuple[float, int]:
    """Standard deviation of a full training's end over seeds, pooled over the configs with several, and their number.

    NaN if there are none. Diverged trainings are left out.
    """
    ends = table.scores[FULL.name][:, :, -1].astype(float)
    repeated = ends[(~np.isnan(ends)).sum(axis=1) > 1]
    if not len(repeated):
        return math.nan, 0
    return float(np.sqrt(np.nanmean(np.nanvar(repeated, axis=1, ddof=1)))), len(repeated)


def markdown(frame: pd.DataFrame) -> str:
    """The report as a Markdown table."""
    titles = ["fidelity", "configs", *MEASURES, "epochs", "share of seconds"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in frame.to_dict("records"):
        measured = [_with_interval(row[key], row[f"{key}, low"], row[f"{key}, high"]) for key in MEASURES]
        cells = [row["fidelity"], row["configs"], *measured, f"{row['epochs']:.1f}", f"{row['share of seconds']:.0%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _with_interval(value: float, low: float, high: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("table", type=Path, help="the .npz file of a recording")
    table = load_table(made.parse_args().table)
    if FULL.name not in table.scores:
        raise SystemExit("no full training is recorded yet. Wait for one.")
    final = table.ends(FULL.name)
    final = final[~np.isnan(final)]
    print(f"{len(final)} full trainings end at {final.min():.1%} to {final.max():.1%}, median {np.median(final):.1%}")
    deviation, num_repeated = noise(table)
    if num_repeated:
        print(f"standard deviation over seeds: {deviation:.2%} ({num_repeated} configs)")
    print(markdown(report(table)))


if __name__ == "__main__":
    main()
