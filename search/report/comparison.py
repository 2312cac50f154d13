"""Two runs side by side: what each was asked for, what it cost and what came of it; plain values, no drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from search.analysis.results import Run
from search.analysis.verdict import ConfigResult
from search.estimates import Difference, estimate_gain, paired_gain
from search.report.data import BestSoFar, ReportData, report_data
from search.retrain.predictions import TestPredictions, predictions_path, read_predictions
from search.setup.document import RunDocument
from search.space.space import SearchSpace
from search.text import duration, percent, value_text

NOTHING = "-"
_Pair = tuple[ReportData, ReportData]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that both runs have, in words."""

    name: str
    values: tuple[str, str]

    @property
    def differs(self) -> bool:
        return self.values[0] != self.values[1]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Rows about one matter."""

    title: str
    rows: list[Row]
    same: int
    """Rows that were left out because they are equal in both runs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the page and the terminal show."""

    names: tuple[str, str]
    verdict: str
    """One sentence: which network is better, and how surely."""
    sections: list[Section]
    curves: tuple[BestSoFar | None, BestSoFar | None]
    """Best validation accuracy against epochs trained."""


def compare_runs(first: Run, second: Run) -> Comparison:
    """The two runs side by side, finished or not; UserError from a folder that holds none."""
    pair = report_data(first), report_data(second)
    return Comparison(
        names=_names(first, second),
        verdict=_verdict(pair, _names(first, second), _winner_difference(first, second, pair)),
        sections=[
            Section(title="what came of it", rows=_result_rows(pair), same=0),
            Section(title="what it cost", rows=_cost_rows(pair), same=0),
            _differing("what was asked for", _asked(pair)),
            _differing("search spaces", _spaces(pair)),
            _differing("the winners' configs", _configs(pair)),
        ],
        curves=(pair[0].by_epochs, pair[1].by_epochs),
    )


def _names(first: Run, second: Run) -> tuple[str, str]:
    """The folders' names, or their paths where those are the same."""
    names = first.run_dir.resolve().name, second.run_dir.resolve().name
    return names if names[0] != names[1] else (str(first.run_dir), str(second.run_dir))


def _verdict(pair: _Pair, names: tuple[str, str], difference: Difference | None) -> str:
    missing = [name for name, data in zip(names, pair, strict=True) if data.result.winner is None]
    if missing:
        return f"There is no test accuracy to compare yet: {' and '.join(missing)} has no retrained winner."
    if difference is None:
        return "The runs were made on different images, so their accuracies do not compare."
    if difference.value == 0:
        return "Both networks get the same number of test images right."
    better, worse = (names[1], names[0]) if difference.value > 0 else names
    points = f"{abs(100 * difference.value):.2f} points"
    if difference.low is None or difference.high is None:
        return f"The network of {better} is {points} better than that of {worse} on the test images."
    low, high = sorted((abs(100 * difference.low), abs(100 * difference.high)))
    if difference.is_clear:
        return (
            f"The network of {better} is {points} better than that of {worse} (95 % interval {low:.2f} to {high:.2f})."
        )
    return f"The network of {better} is {points} better than that of {worse}, which may be chance."


def _winner_difference(first: Run, second: Run, pair: _Pair) -> Difference | None:
    """Test accuracy of the second winner minus the first's; None where they saw different images or none."""
    winners = [data.result.winner for data in pair]
    images = [(data.document.data.fingerprint, data.document.data.image_size) for data in pair]
    if None in winners or images[0] != images[1]:
        return None
    accuracies = [_accuracies(run) for run in (first, second)]
    answers = [_answers(run) for run in (first, second)]
    theirs, ours = answers
    is_single = len(accuracies[0]) == len(accuracies[1]) == 1
    if is_single and ours is not None and theirs is not None and (ours.labels == theirs.labels).all():
        return paired_gain(ours.is_right, theirs.is_right)
    return estimate_gain(accuracies[1], accuracies[0])


def _accuracies(run: Run) -> list[float]:
    rows = run.retrains
    return [float(value) for value in rows[rows["config_name"] == "winner"]["test_accuracy"]]


def _answers(run: Run) -> TestPredictions | None:
    return read_predictions(predictions_path(run.run_dir, "retrain:winner:0"))


def _rows(pair: _Pair, tellers: Iterable[tuple[str, Callable[[ReportData], str]]]) -> list[Row]:
    return [Row(name=name, values=(tell(pair[0]), tell(pair[1]))) for name, tell in tellers]


def _result_rows(pair: _Pair) -> list[Row]:
    def of_winner(tell: Callable[[ConfigResult], str]) -> Callable[[ReportData], str]:
        return lambda data: NOTHING if data.result.winner is None else tell(data.result.winner)

    references = sorted({gain.over.title for data in pair for gain in data.result.gains})
    return _rows(
        pair,
        [
            ("test accuracy", of_winner(lambda winner: percent(winner.test.mean))),
            ("its 95 % interval", of_winner(_interval)),
            ("with flip TTA", of_winner(lambda winner: percent(winner.test_tta.mean))),
            *((f"gain over {title}", _gain_teller(title)) for title in references),
            ("best trial's validation accuracy", _best_score),
            ("parameters", of_winner(lambda winner: f"{winner.num_params:,}")),
            ("multiply-adds an image", of_winner(lambda winner: f"{winner.multiply_adds:,}")),
            ("receptive field", of_winner(lambda winner: str(winner.receptive_field))),
        ],
    )


def _interval(winner: ConfigResult) -> str:
    low, high = winner.test.low, winner.test.high
    if low is None or high is None:
        if winner.images_interval is None:
            return NOTHING
        low, high = winner.images_interval
        return f"{100 * low:.2f} to {percent(high)} (test images alone)"
    return f"{100 * low:.2f} to {percent(high)} ({winner.test.n} seeds)"


def _gain_teller(title: str) -> Callable[[ReportData], str]:
    def tell(data: ReportData) -> str:
        gain = next((gain.difference for gain in data.result.gains if gain.over.title == title), None)
        if gain is None:
            return NOTHING
        interval = (
            "" if gain.low is None or gain.high is None else f" ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
        )
        return f"{100 * gain.value:+.2f} points{interval}"

    return tell


def _best_score(data: ReportData) -> str:
    if not data.top_trials:
        return NOTHING
    best = data.top_trials[0]
    return f"{percent(best.last_score)} (trial {best.number}, epoch {best.epochs_trained})"


def _cost_rows(pair: _Pair) -> list[Row]:
    return _rows(
        pair,
        [
            ("trials", lambda data: ", ".join(f"{n} {status}" for status, n in data.cost.statuses.items()) or "none"),
            ("epochs in trials", lambda data: f"{data.cost.epochs:,}"),
            ("epochs saved by stops", lambda data: f"{data.cost.epochs_without_stops - data.cost.epochs:,}"),
            ("time of the search", lambda data: duration(data.cost.wall_s)),
            ("time in trials, added up", lambda data: duration(data.cost.trial_s)),
            ("time of the retraining", lambda data: duration(data.cost.retrain_s)),
            ("trained on", lambda data: data.document.hardware.processor),
        ],
    )


def _differing(title: str, values: Sequence[dict[str, str]]) -> Section:
    """Rows of what the two tell differently, in the first's order."""
    keys = list(dict.fromkeys([*values[0], *values[1]]))
    rows = [Row(name=key, values=(values[0].get(key, NOTHING), values[1].get(key, NOTHING))) for key in keys]
    differing = [row for row in rows if row.differs]
    return Section(title=title, rows=differing, same=len(rows) - len(differing))


def _asked(pair: _Pair) -> list[dict[str, str]]:
    return [_asked_of(data.document) for data in pair]


def _asked_of(document: RunDocument) -> dict[str, str]:
    """Settings and data; where a run is kept is no difference between runs."""
    settings = {
        key: value_text(value)
        for key, value in document.settings.model_dump(mode="json", exclude_none=True).items()
        if key not in ("run_name", "results_dir", "storage", "space")
    }
    data = {
        f"data: {key}": value_text(getattr(document.data, key)) for key in ("fingerprint", "image_size", "num_train")
    }
    engine = {f"engine: {key}": value_text(getattr(document.engine, key)) for key in ("device", "precision")}
    return {**settings, **data, **engine}


def _spaces(pair: _Pair) -> list[dict[str, str]]:
    return [{key: _drawn(data.space, key) for key in [*data.space.parameters, *data.space.fixed]} for data in pair]


def _drawn(space: SearchSpace, key: str) -> str:
    """What may be drawn for a key, in words."""
    if key in space.fixed:
        return f"{value_text(space.fixed[key])}, fixed"
    parameter = space.parameters[key]
    if parameter.kind == "choice":
        return "one of " + ", ".join(value_text(value) for value in parameter.values)
    step = "" if parameter.step is None else f" by {value_text(parameter.step)}"
    return f"{value_text(parameter.low)} to {value_text(parameter.high)}{step}, {parameter.kind}"


def _configs(pair: _Pair) -> list[dict[str, str]]:
    return [
        {entry.key: value_text(entry.value) for entry in data.winner.entries} if data.winner else {} for data in pair
    ]
