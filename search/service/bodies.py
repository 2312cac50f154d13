"""What the API answers with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from search.options import problem_lines
from search.service.queue import Devices

State = Literal["waiting", "running", "finished", "cancelled", "failed", "unfinished", "unreadable"]


class RunView(BaseModel):
    """A run. Results are the metric's own values, the accuracy a fraction 0..1, times Unix times, durations seconds.

    None where nothing is known yet.
    """

    name: str
    owner: str = ""
    """Empty for a run that somebody started without the service."""
    state: State
    """cancelled: ended on request; unfinished: a run from elsewhere that was cut off. Both can be continued.
    unreadable: damaged, or of another version; `verdict` says which."""
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    priority: int = 0
    num_gpus: int = 0
    cores: int = 0
    devices: Devices = Devices((), ())
    """That it holds."""
    queue_position: int | None = None
    shortage: str = ""
    """Why it waits for ever, unless devices are added: "needs 4 GPUs, and there are 2"."""
    num_deaths: int = 0
    """How often it died and was resumed since somebody started it."""
    last_line: str = ""
    """Why it ended, or the last that it said."""
    dataset: str = ""
    num_trials: int = 0
    """Trials to train in all."""
    num_started: int = 0
    trials: dict[str, int] = {}
    """Trials by status."""
    epochs: int = 0
    """Of all trials, those that were trained again included."""
    num_retrained: int = 0
    metric: str = "accuracy"
    best_validation: float | None = None
    best_trial: int | None = None
    curve: list[float] = []
    """Best validation result so far, thinned."""
    test_result: float | None = None
    test_interval: tuple[float, float] | None = None
    """95 %."""
    test_accuracy: float | None = None
    verdict: str = ""
    warnings: list[str] = []
    forecast_s: float | None = None
    seconds_left: float | None = None
    """None unless the run goes on."""
    time_budget_s: float | None = None
    steering: str | None = None
    """What was asked for and holds now, such as "paused by ada"."""
    wishes: list[dict[str, Any]] = []
    """What was asked of the run while it went on: words, by, at and answer."""
    rows: Annotated[list[dict[str, Any]], Field(exclude=True)] = []
    """The first trials as its page shows them."""


class RunPage(BaseModel):
    """A part of a list of runs."""

    num_runs: int
    """All that match."""
    runs: list[RunView]


class Problem(BaseModel):
    """One thing that is wrong."""

    message: str
    field: str | None = None
    line: int | None = None
    """In the search space."""


class Problems(BaseModel):
    """The body of every error."""

    errors: list[Problem]


_OF_TEXT = {"int_parsing": "int_type"}
"""Kinds of problems of values in an address, which are all text, by the kinds that have the same words."""


def validation_errors(problems: Iterable[Any]) -> list[dict[str, Any]]:
    """Bad values as the API reports them: the field and a sentence."""
    errors = []
    for problem in problems:
        if problem["type"] == "json_invalid":
            where = f"{problem['ctx']['error']}, at character {problem['loc'][-1] + 1}"
            errors.append({"message": f"the body is not valid JSON ({where})."})
            continue
        place = [part for part in problem["loc"] if part not in ("body", "query", "path", "header")]
        kind = _OF_TEXT.get(problem["type"], problem["type"])
        located = {**problem, "loc": tuple(place), "type": kind}
        if problem["type"] == "extra_forbidden":
            errors.append({"message": f"`{place[0]}` is not known, or may not be chosen here.", "field": str(place[0])})
            continue
        if not place and problem["type"] == "model_attributes_type":
            errors.append({"message": "the body must be a JSON object, sent with `Content-Type: application/json`."})
            continue
        found = problem_lines([located], lambda at: f"`{at[0]}`" if at else "the body", lambda _at: ())
        errors += [{"message": f"{line}.", **({"field": str(place[0])} if place else {})} for line in found]
    return errors
