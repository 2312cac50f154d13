"""Numbers as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.metrics import Metric


def percent(fraction: float | None) -> str:
    """A fraction in percent: "83.10 %"; "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def bare_number(metric: Metric, value: float, sign: str = "") -> str:
    """A value of the metric, or a difference of two, without a unit: "83.10" (of percent) or "0.8310".

    `sign`: "+" to write that of positive numbers, too.
    """
    return format(100 * value, f"{sign}.2f") if metric.is_percent else format(value, f"{sign}.4f")


def score_text(metric: Metric, score: float | None, accuracy: float | None = None) -> str:
    """The metric's own value: "83.10 %" or "0.8310"; "-" for None. Another metric's has the `accuracy` behind it."""
    if score is None:
        return "-"
    beside = "" if accuracy is None or metric.name == "accuracy" else f" (accuracy {percent(accuracy)})"
    return f"{bare_number(metric, metric.value(score))}{' %' if metric.is_percent else ''}{beside}"


def gain_text(metric: Metric, gain: float, sign: str = "+") -> str:
    """A difference of two scores, positive where the first is better: "+1.20 points" or "+0.0120"."""
    return bare_number(metric, gain, sign) + (" points" if metric.is_percent else "")


def duration(seconds: float | None) -> str:
    """Seconds as "1 h 02 min", "3 min 20 s" or "12 s"; "-" for None."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def size_text(num_bytes: float) -> str:
    """Bytes as "31 MB" or "1.2 GB"."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def value_text(value: Any) -> str:
    """A config's or a setting's value: four significant digits, `true` and `false` as in TOML, lists with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(value_text, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
