"""Packages that only some options need, and the line that says how to get them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

EXTRAS = {
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
}
"""Packages of each extra in pyproject.toml that is imported here."""


def missing_extra(option: str, extra: str) -> str | None:
    """The error where a package of an extra is not installed; None where all are."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if not missing:
        return None
    return f"{option} needs {', '.join(missing)}, not installed here: pip install -e '.[{extra}]'"


def tracker_problems(settings: Mapping[str, Any]) -> list[str]:
    """One line for each tracker that was asked for and whose library is not installed."""
    problems = [missing_extra(f"--{name}", name) for name in ("mlflow", "wandb") if settings.get(name) is not None]
    return [problem for problem in problems if problem is not None]
