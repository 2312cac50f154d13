"""Two runs side by side: whose network is better, and everything compared, as values and as terminal lines."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from model.metrics import METRICS, Metric
from search.analysis.best_so_far import BestSoFar, best_so_far
from search.analysis.compared_sections import Pair, Section, compared_sections
from search.analysis.results import Run
from search.analysis.verdict import current_retrains, paired_difference
from search.estimates import Difference, estimate_gain
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.study.retrain_record import retrain_key
from search.text import bare_number, gain_text

_RECORDED = {"balanced_accuracy": "test_balanced_accuracy", "accuracy": "test_accuracy"}
"""Test results of every run, whatever its metric, by their place in the record."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The whole comparison."""

    names: tuple[str, str]
    verdict: str
    """One sentence: which network is better, and how certain that is."""
    sections: list[Section]
    metric: Metric
    """Of the curves."""
    curves: tuple[BestSoFar | None, BestSoFar | None]
    """Best validation score over the epochs trained; None for runs of different metrics."""


def compare_runs(first: Run, second: Run) -> Comparison:
    """The two runs side by side, finished or not. UserError if a record is missing or damaged."""
    pair = first, second
    names = _names(pair)
    return Comparison(
        names=names,
        verdict=_verdict(pair, names),
        sections=compared_sections(pair),
        metric=first.metric,
        curves=(best_so_far(first.records), best_so_far(second.records)) if _is_one_metric(pair) else (None, None),
    )


def comparison_lines(comparison: Comparison) -> list[Text | Table]:
    """The comparison for the terminal, to be printed by rich one after another."""
    lines: list[Text | Table] = [Text(comparison.verdict)]
    for section in comparison.sections:
        lines.append(Text(f"\n{section.title}"))
        if section.rows:
            lines.append(_terminal_table(section, comparison.names))
        if section.num_same:
            lines.append(Text(f"  {section.num_same} more are equal" if section.rows else "  no difference"))
    return lines


def _terminal_table(section: Section, names: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for heading in ("", *names):
        table.add_column(Text(heading), overflow="fold")
    for row in section.rows:
        table.add_row(Text(row.name), *(Text(value, style="bold" if row.differs else "") for value in row.values))
    return table


def _names(pair: Pair) -> tuple[str, str]:
    """The names of the folders; their paths if the names are equal."""
    first, second = (run.run_dir.resolve().name for run in pair)
    return (first, second) if first != second else (str(pair[0].run_dir), str(pair[1].run_dir))


def _verdict(pair: Pair, names: tuple[str, str]) -> str:
    missing = [name for name, run in zip(names, pair, strict=True) if run.result.winner is None]
    if missing:
        return f"No test results to compare yet: no retrained winner in {' and '.join(missing)}."
    metric, titles = _common_metric(pair), " and ".join(run.metric.title for run in pair)
    if metric is None:
        return f"The runs were ranked by different metrics, {titles}, so their results cannot be compared."
    if not _have_same_images(pair):
        return f"The runs used different images, so their test {metric.title} cannot be compared."
    sentence = _difference_sentence(metric, names, _winner_difference(pair, metric))
    return sentence if _is_one_metric(pair) else f"{sentence} The runs were ranked by different metrics, {titles}."


def _difference_sentence(metric: Metric, names: tuple[str, str], difference: Difference) -> str:
    if difference.value == 0:
        return f"Both networks have the same test {metric.title}."
    better, worse = (names[1], names[0]) if difference.value > 0 else names
    size = gain_text(metric, abs(difference.value), "")
    sentence = f"The network of {better} is {size} better than that of {worse} by test {metric.title}"
    if difference.low is None or difference.high is None:
        return f"{sentence}."
    low, high = sorted((abs(difference.low), abs(difference.high)))
    if difference.is_clear:
        return f"{sentence} (95 % interval {bare_number(metric, low)} to {bare_number(metric, high)})."
    return f"{sentence}, possibly by chance."


def _winner_difference(pair: Pair, metric: Metric) -> Difference:
    """Test score of the second winner minus the first's."""
    reference, values = (_test_scores(run, metric) for run in pair)
    theirs, ours = (_predictions(run) for run in pair)
    is_single = len(values) == len(reference) == 1
    if is_single and ours is not None and theirs is not None and (ours.labels == theirs.labels).all():
        return paired_difference(metric, ours, theirs)
    return estimate_gain(values, reference)


def _have_same_images(pair: Pair) -> bool:
    first, second = (run.document.data for run in pair)
    if (first.fingerprint, first.image_size) != (second.fingerprint, second.image_size):
        return False
    are_known = first.test_fingerprint and second.test_fingerprint
    return not are_known or first.test_fingerprint == second.test_fingerprint


def _common_metric(pair: Pair) -> Metric | None:
    """The runs' metric; of different ones, that in which both have a test result: the balanced accuracy if one of the
    runs was ranked by it, else the accuracy.
    """
    if _is_one_metric(pair):
        return pair[0].metric
    ranked_by = {str(run.metric.name) for run in pair}
    names = [name for name in _RECORDED if name == "accuracy" or name in ranked_by]
    return next((METRICS[name] for name in names if all(_test_scores(run, METRICS[name]) for run in pair)), None)


def _is_one_metric(pair: Pair) -> bool:
    return pair[0].metric is pair[1].metric


def _test_scores(run: Run, metric: Metric) -> list[float]:
    name = "test_score" if metric is run.metric else _RECORDED[metric.name]
    retrains = current_retrains(run.retrain_records, run.finals).values()
    scores = (getattr(one, name) for one in retrains if one.config_name == "winner")
    return [score for score in scores if score is not None]


def _predictions(run: Run) -> TestPredictions | None:
    return read_predictions(predictions_path(run.run_dir, retrain_key("winner", 0, 0)))
