"""Two runs side by side: whose network is better, and everything compared, as values and as terminal lines."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from model.metrics import Metric
from search.analysis.best_so_far import BestSoFar, best_so_far
from search.analysis.compared_sections import Pair, Section, compared_sections
from search.analysis.results import Run
from search.analysis.verdict import paired_difference
from search.estimates import Difference, estimate_gain
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.study.retrain_record import retrain_key
from search.text import bare_number, gain_text


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
        verdict=_verdict(pair, names, _winner_difference(pair)),
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


def _verdict(pair: Pair, names: tuple[str, str], difference: Difference | None) -> str:
    missing = [name for name, run in zip(names, pair, strict=True) if run.result.winner is None]
    if missing:
        return f"No test results to compare yet: no retrained winner in {' and '.join(missing)}."
    if not _is_one_metric(pair):
        titles = " and ".join(run.metric.title for run in pair)
        return f"The runs were ranked by different metrics, {titles}, so their results cannot be compared."
    metric = pair[0].metric
    if difference is None:
        return f"The runs used different images, so their test {metric.title} cannot be compared."
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


def _winner_difference(pair: Pair) -> Difference | None:
    """Test score of the second winner minus the first's; None without both, on different images or by two metrics."""
    images = [(run.document.data.fingerprint, run.image_size) for run in pair]
    if any(run.result.winner is None for run in pair) or images[0] != images[1] or not _is_one_metric(pair):
        return None
    reference, values = (_test_scores(run) for run in pair)
    theirs, ours = (_predictions(run) for run in pair)
    is_single = len(values) == len(reference) == 1
    if is_single and ours is not None and theirs is not None and (ours.labels == theirs.labels).all():
        return paired_difference(pair[0].metric, ours, theirs)
    return estimate_gain(values, reference)


def _is_one_metric(pair: Pair) -> bool:
    return pair[0].metric is pair[1].metric


def _test_scores(run: Run) -> list[float]:
    return [one.test_score for one in run.retrain_records if one.config_name == "winner" and one.test_score is not None]


def _predictions(run: Run) -> TestPredictions | None:
    return read_predictions(predictions_path(run.run_dir, retrain_key("winner", 0, 0)))
