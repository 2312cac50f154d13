"""What two runs are compared by: result, cost, and what differs in settings, search spaces and winners' configs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from model.config import ordered_keys
from model.metrics import Metric
from search.analysis.cost import cost_of
from search.analysis.results import Run
from search.analysis.verdict import ConfigResult
from search.analysis.wording import gain_interval, score_interval
from search.space.space import SearchSpace
from search.study.ranking import rank_trials
from search.text import duration, gain_text, percent, score_text, value_text

NOTHING = "-"
_NOT_COMPARED = ("run_name", "results_dir", "storage", "space")
"""Settings that say where a run is kept; the spaces are compared key by key."""
Pair = tuple[Run, Run]


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


def compared_sections(pair: Pair) -> list[Section]:
    """All sections, as far as the runs have come."""
    return [
        Section(title="result", rows=_result_rows(pair)),
        Section(title="cost", rows=_cost_rows(pair)),
        _differing("settings and data", [_settings(run) for run in pair]),
        _differing("search spaces", [_space(run.space) for run in pair]),
        _differing("the winners' configs", [_config(run) for run in pair]),
    ]


def _rows(pair: Pair, properties: Iterable[tuple[str, Callable[[Run], str]]]) -> list[Row]:
    return [Row(name=name, values=(text_of(pair[0]), text_of(pair[1]))) for name, text_of in properties]


def _result_rows(pair: Pair) -> list[Row]:
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
            ("test balanced accuracy", of_winner(lambda winner: percent(winner.balanced))),
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


def _cost_rows(pair: Pair) -> list[Row]:
    first, second = map(_cost_texts, pair)
    return [Row(name=name, values=(text, second[name])) for name, text in first.items()]


def _cost_texts(run: Run) -> dict[str, str]:
    cost = cost_of(run.records, run.retrain_records, run.settings.max_epochs)
    return {
        "trials": cost.statuses_text or "none",
        "epochs in trials": f"{cost.epochs:,}",
        "epochs saved by stops": f"{cost.saved_epochs:,}",
        "time of the search, without pauses": duration(cost.wall_s),
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
    facts = ("fingerprint", "test_fingerprint", "image_size", "num_train")
    data = {f"data: {key}": getattr(run.document.data, key) or NOTHING for key in facts}
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
