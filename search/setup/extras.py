"""Packages that only some options need, and how to install them."""

from __future__ import annotations

from importlib.util import find_spec

from search.notify import make_sender, notify_url
from search.settings import SearchSettings

EXTRAS = {
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "mlflow": ("mlflow",),
    "notify": ("apprise",),
    "service": ("fastapi", "uvicorn"),
    "wandb": ("wandb",),
}
"""The packages of each extra in pyproject.toml."""


def missing_extra(option: str, extra: str) -> str | None:
    """The error if a package of an extra is not installed, else None. `option`: the option that needs it."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if not missing:
        return None
    return f"{option} needs {', '.join(missing)}, not installed here: pip install -e '.[{extra}]'"


def tracker_problems(settings: SearchSettings) -> list[str]:
    """One line for each tracker whose package is not installed."""
    asked = [name for name in ("mlflow", "wandb") if getattr(settings, name) is not None]
    problems = [missing_extra(f"--{name}", name) for name in asked]
    return [problem for problem in problems if problem is not None]


def notify_problem(url: str | None) -> str | None:
    """The error if word cannot be sent to a URL, else None."""
    if not url:
        return None
    if problem := missing_extra("--notify", "notify"):
        return problem
    try:
        make_sender(url)
    except ValueError as error:
        return f"--notify {url.partition(':')[0]}:... {error}."
    return None


def notify_problems(settings: SearchSettings) -> list[str]:
    """One line if word of the run cannot be sent to where it was asked for."""
    problem = notify_problem(notify_url(settings))
    return [] if problem is None else [problem]
