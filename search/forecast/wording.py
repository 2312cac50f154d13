"""What a forecast says in words, before the run and after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.forecast.forecast import Forecast, Range
from search.text import duration, size_text

BUSY = 1.15
"""From so many times as slow on, a forecast says that the machine has other things to do."""


def plan_lines(forecast: Forecast, *, free_disk: int, memory: int) -> list[str]:
    """The whole forecast. `free_disk` and `memory`: bytes that this machine has."""
    endings = ", ".join(f"{count:.1f} {status}" for status, count in forecast.endings.items())
    epochs, device = forecast.epochs, "GPU" if forecast.gpus else "CPU"
    return [
        f"{sum(forecast.endings.values()):.1f} trials ({endings}), {_places(forecast)}",
        f"{epochs.median:.0f} epochs in trials ({epochs.low:.0f} to {epochs.high:.0f}); retraining costs as much as "
        f"{forecast.retrain_epochs:.0f} more",
        f"wall time {duration(forecast.wall_s.median)} ({_span(forecast.wall_s)}): "
        f"search {duration(forecast.search_s.median)}, retraining {duration(forecast.retrain_s.median)}",
        f"{_hours(forecast.device_s)} {device} hours; disk {size_text(forecast.disk_bytes)} of {size_text(free_disk)} "
        f"free; {'GPU ' if forecast.gpus else ''}memory of the trials {size_text(forecast.memory_bytes)}"
        + ("" if forecast.gpus else f" of {size_text(memory)}"),
        f"Medians (of trials: means) and 90 % intervals of {forecast.num_rehearsals} simulated runs; speeds by "
        f"{forecast.num_measured} measured config{'s' if forecast.num_measured > 1 else ''}{_busy(forecast)}.",
    ]


def brief_line(forecast: Forecast) -> str:
    """The forecast in a line, for the start of a run."""
    return (
        f"forecast: {duration(forecast.wall_s.median)} ({_span(forecast.wall_s)}) for "
        f"{sum(forecast.endings.values()):.0f} trials of {forecast.epochs.median:.0f} epochs together "
        f"({forecast.epochs.low:.0f} to {forecast.epochs.high:.0f}), {_places(forecast)}, and the retraining"
        f"{_busy(forecast)}"
    )


def verdict(forecast: Mapping[str, Any]) -> str | None:
    """How far it was off, from run.toml's table; None if the run was cut off or is not over."""
    if "actual_wall_s" not in forecast:
        return None
    wall_s, epochs, took_s = Range(**forecast["wall_s"]), Range(**forecast["epochs"]), forecast["actual_wall_s"]
    is_within = wall_s.low <= took_s <= wall_s.high
    return (
        f"The forecast was {duration(wall_s.median)} ({_span(wall_s)}), and it took {duration(took_s)}: "
        f"{100 * (took_s / wall_s.median - 1):+.0f} %, {'within' if is_within else 'outside'} the interval; "
        f"{epochs.median:.0f} epochs in trials ({epochs.low:.0f} to {epochs.high:.0f}), and there were "
        f"{forecast['actual_epochs']}."
    )


def _busy(forecast: Forecast) -> str:
    """Said where it matters."""
    if forecast.slowdown < BUSY:
        return ""
    return f", {forecast.slowdown:.1f} times as slow as if nothing else ran here"


def _places(forecast: Forecast) -> str:
    cores = f"{forecast.cpus_per_trial} CPU core{'s' if forecast.cpus_per_trial > 1 else ''} each"
    on_gpus = f" on {forecast.gpus} GPU{'s' if forecast.gpus > 1 else ''}" if forecast.gpus else ""
    return f"{forecast.num_concurrent} side by side{on_gpus}, {cores}"


def _span(seconds: Range) -> str:
    return f"{duration(seconds.low)} to {duration(seconds.high)}"


def _hours(seconds: Range) -> str:
    """To two digits: a run of seconds takes some hours too."""
    return f"{seconds.median / 3600:.2g} ({seconds.low / 3600:.2g} to {seconds.high / 3600:.2g})"
