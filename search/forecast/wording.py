"""The sentences about a forecast, before the run and after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.forecast.forecast import Forecast
from search.text import duration, size_text

BUSY = 1.15
"""From this slowdown on, the forecast says that the machine is busy."""


def brief_line(forecast: Forecast) -> str:
    """The forecast in a line, for the start of a run."""
    return (
        f"forecast: {duration(forecast.wall_s)} ({_span(forecast.low_s, forecast.high_s)}) for {forecast.num_trials} "
        f"trials with about {forecast.epochs:.0f} epochs in all, {_places(forecast)}, then {forecast.retraining}"
        f"{_busy(forecast)}{_over_budget(forecast)}"
    )


def plan_lines(forecast: Forecast) -> list[str]:
    """The whole forecast, for --plan."""
    device = "GPU" if forecast.gpus else "CPU core"
    memory = "GPU memory" if forecast.gpus else "memory"
    return [
        f"{forecast.num_trials} trials, {_places(forecast)}",
        f"about {forecast.epochs:.0f} epochs in trials, then {forecast.retraining}, which costs as much as "
        f"{forecast.retrain_epochs:.0f} more",
        f"wall time {duration(forecast.wall_s)} ({_span(forecast.low_s, forecast.high_s)}): search "
        f"{duration(forecast.search_s)}, retraining {duration(forecast.retrain_s)}{_over_budget(forecast)}",
        f"{forecast.device_s / 3600:.2g} {device} hours; disk up to {size_text(forecast.disk_bytes)} of "
        f"{size_text(forecast.free_disk_bytes)} free; {memory} of the trials about {size_text(forecast.memory_bytes)}",
        f"Speeds come from a short measurement on this machine{_busy(forecast)}.",
    ]


def verdict(table: Mapping[str, Any] | None) -> str | None:
    """How far the forecast was off, from run.toml's table; None if there is none or the run has not ended."""
    if table is None or "actual_wall_s" not in table:
        return None
    took_s = table["actual_wall_s"]
    is_within = table["low_s"] <= took_s <= table["high_s"]
    return (
        f"The forecast was {duration(table['wall_s'])} ({_span(table['low_s'], table['high_s'])}); the run took "
        f"{duration(took_s)}: {100 * (took_s / table['wall_s'] - 1):+.0f} %, {'within' if is_within else 'outside'} "
        f"the interval. It expected {table['epochs']:.0f} epochs in trials; there were {table['actual_epochs']}."
    )


def _busy(forecast: Forecast) -> str:
    if forecast.slowdown < BUSY:
        return ""
    return f"; other programs slow this machine down by a factor of {forecast.slowdown:.1f}"


def _over_budget(forecast: Forecast) -> str:
    if not forecast.over_budget_s:
        return ""
    return (
        f"; this exceeds the time budget of {duration(forecast.wall_s - forecast.over_budget_s)} by "
        f"{duration(forecast.over_budget_s)}, because one full training and the retraining take as long"
    )


def _places(forecast: Forecast) -> str:
    cores = f"{forecast.cpus_per_trial} CPU core{'s' if forecast.cpus_per_trial > 1 else ''} each"
    on_gpus = f" on {forecast.gpus} GPU{'s' if forecast.gpus > 1 else ''}" if forecast.gpus else ""
    return f"{forecast.num_concurrent} side by side{on_gpus}, {cores}"


def _span(low_s: float, high_s: float) -> str:
    return f"{duration(low_s)} to {duration(high_s)}"
