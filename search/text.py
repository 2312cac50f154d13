"""Numbers as people read them."""

from __future__ import annotations

from typing import Any


def percent(fraction: float | None) -> str:
    """A fraction in percent: "83.10 %"; "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points: "+1.20 points"."""
    return f"{100 * difference:+.2f} points"


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
    """A config's value: four significant digits, `true` and `false` as in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
