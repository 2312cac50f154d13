"""Two runs side by side: settings, cost and result; plain values and lines for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from model.config import ordered_keys
from model.metrics import Metric
from search.analysis.best_so_far import BestSoFar, best_so_far
from search.analysis.cost import cost_of
from search.analysis.results import Run
from search.analysis.verdict import ConfigResult, paired_difference
from search.analysis.wording import gain_interval, score_interval
from search.estimates import Difference, estimate_gain
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.space.space import SearchSpace
from search.study.ranking import rank_trials
from search.study.retrain_record import retrain_key
from search.text import bare_number, duration, gain_text, percent, score_text, value_text

NOTHING = "-"
_NOT_COMPARED = ("run_name", "results_dir", "storage", "space")
"""Settings that say where a run is kept; the spaces are compared key by key."""
_Pair = tuple[Run, Run]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One property of both runs."""

    name: str
    values: tuple[str, str]

    @property
    def differs(self) -> bool:
        return self.values[0] != self.values[1]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows on one topic."""

    title: str
    rows: list[Row]
    num_same: int = 0
    """Rows left out because both runs agree."""


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
        sections=[
            Section(title="result", rows=_result_rows(pair)),
            Section(title="cost", rows=_cost_rows(pair)),
            _differing("settings and data", [_settings(run) for run in pair]),
            _differing("search spaces", [_space(run.space) for run in pair]),
            _differing("the winners' configs", [_config(run) for run in pair]),
        ],
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


def _names(pair: _Pair) -> tuple[str, str]:
    """The names of the folders; their paths if the names are equal."""
    first, second = (run.run_dir.resolve().name for run in pair)
    return (first, second) if first != second else (str(pair[0].run_dir), str(pair[1].run_dir))


def _verdict(pair: _Pair, names: tuple[str, str], difference: Difference | None) -> str:
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


def _winner_difference(pair: _Pair) -> Difference | None:
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


def _is_one_metric(pair: _Pair) -> bool:
    return pair[0].metric is pair[1].metric


def _test_scores(run: Run) -> list[float]:
    return [one.test_score for one in run.retrain_records if one.config_name == "winner" and one.test_score is not None]


def _predictions(run: Run) -> TestPredictions | None:
    return read_predictions(predictions_path(run.run_dir, retrain_key("winner", 0, 0)))


def _rows(pair: _Pair, properties: Iterable[tuple[str, Callable[[Run], str]]]) -> list[Row]:
    return [Row(name=name, values=(text_of(pair[0]), text_of(pair[1]))) for name, text_of in properties]


def _result_rows(pair: _Pair) -> list[Row]:
    def of_winner(text_of: Callable[[ConfigResult], str]) -> Callable[[Run], str]:
        return lambda run: NOTHING if run.result.winner is None else text_of(run.result.winner)

    references = sorted({gain.over.title for run in pair for gain in run.result.gains})
    return _rows(
        pair,
        [
            ("test result", of_winner(lambda winner: _titled(winner.metric, winner.test.mean))),
            ("its 95 % interval", of_winner(_interval)),
            ("with flip TTA", of_winner(lambda winner: _titled(winner.metric, winner.test_tta.mean))),
            ("test accuracy", of_winner(lambda winner: percent(winner.accuracy))),
            *((f"gain over {title}", _gain_over(title)) for title in references),
            ("best trial's validation result", _best_score),
            ("parameters", of_winner(lambda winner: f"{winner.num_params:,}")),
            ("multiply-adds an image", of_winner(lambda winner: f"{winner.multiply_adds:,}")),
            ("receptive field", of_winner(lambda winner: str(winner.receptive_field or "not known"))),
        ],
    )


def _titled(metric: Metric, score: float | None) -> str:
    return f"{metric.title} {score_text(metric, score)}"


def _interval(winner: ConfigResult) -> str:
    source = f"{winner.test.n} seeds" if winner.test.n > 1 else "test images alone"
    interval = score_interval(winner)
    return interval if interval == NOTHING else f"{interval} ({source})"


def _gain_over(title: str) -> Callable[[Run], str]:
    def text_of(run: Run) -> str:
        gain = next((gain.difference for gain in run.result.gains if gain.over.title == title), None)
        if gain is None:
            return NOTHING
        text = gain_text(run.metric, gain.value)
        return text if gain.low is None else f"{text} ({gain_interval(gain, run.metric)})"

    return text_of


def _best_score(run: Run) -> str:
    ranked = rank_trials(run.records)
    if not ranked:
        return NOTHING
    best = ranked[0]
    return f"{_titled(run.metric, best.last_score)} (trial {best.number}, epoch {best.epochs_trained})"


def _cost_rows(pair: _Pair) -> list[Row]:
    first, second = map(_cost_texts, pair)
    return [Row(name=name, values=(text, second[name])) for name, text in first.items()]


def _cost_texts(run: Run) -> dict[str, str]:
    cost = cost_of(run.records, run.retrain_records, run.settings.max_epochs)
    return {
        "trials": cost.statuses_text or "none",
        "epochs in trials": f"{cost.epochs:,}",
        "epochs saved by stops": f"{cost.saved_epochs:,}",
        "time of the search": duration(cost.wall_s),
        "time in trials, summed": duration(cost.trial_s),
        "time of the retraining": duration(cost.retrain_s),
        "trained on": run.document.hardware.processor,
    }


def _differing(title: str, values: Sequence[dict[str, str]]) -> Section:
    """Rows for the keys whose values differ, in the first's order."""
    keys = list(dict.fromkeys([*values[0], *values[1]]))
    rows = [Row(name=key, values=(values[0].get(key, NOTHING), values[1].get(key, NOTHING))) for key in keys]
    differing = [row for row in rows if row.differs]
    return Section(title=title, rows=differing, num_same=len(rows) - len(differing))


def _settings(run: Run) -> dict[str, str]:
    settings = run.settings.model_dump(exclude_none=True, exclude=set(_NOT_COMPARED))
    data = {f"data: {key}": getattr(run.document.data, key) for key in ("fingerprint", "image_size", "num_train")}
    engine = {f"engine: {key}": getattr(run.document.engine, key) for key in ("device", "precision")}
    return {key: value_text(value) for key, value in {**settings, **data, **engine}.items()}


def _space(space: SearchSpace) -> dict[str, str]:
    return {key: _choices(space, key) for key in space.keys}


def _choices(space: SearchSpace, key: str) -> str:
    """The possible values of a key."""
    if key in space.fixed:
        return f"{value_text(space.fixed[key])}, fixed"
    parameter = space.parameters[key]
    if parameter.kind == "choice":
        return "one of " + ", ".join(value_text(value) for value in parameter.values)
    step = "" if parameter.step is None else f" by {value_text(parameter.step)}"
    return f"{value_text(parameter.low)} to {value_text(parameter.high)}{step}, {parameter.kind}"


def _config(run: Run) -> dict[str, str]:
    if run.finals.winner is None:
        return {}
    config = run.finals.winner.record.config
    return {key: value_text(config[key]) for key in ordered_keys(config)}
