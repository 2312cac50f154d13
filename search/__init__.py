"""Many configs -> the best one. The public names; each loads its room when it is first used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.analysis.results import Run as Run
    from search.errors import UserError as UserError
    from search.report.plots import load_run as load_run
    from search.run import resume_search as resume_search
    from search.run import run_search as run_search
    from search.settings import SearchSettings as SearchSettings
    from search.setup.control import control as control
    from search.space.space import SearchSpace as SearchSpace
    from search.study.study import RunStudy as RunStudy
    from search.study.wishes import Wish as Wish

_ROOMS = {
    "Run": "analysis.results",
    "RunStudy": "study.study",
    "SearchSettings": "settings",
    "SearchSpace": "space.space",
    "UserError": "errors",
    "Wish": "study.wishes",
    "control": "setup.control",
    "load_run": "report.plots",
    "resume_search": "run",
    "run_search": "run",
}
__all__ = sorted(_ROOMS)


def _check_model_is_ours() -> None:
    """ImportError if a user's own model.py comes first on Python's path."""
    ours, found = Path(__file__).resolve().parent.parent / "model", find_spec("model")
    places = [] if found is None else found.submodule_search_locations or [str(found.origin)]
    # A worker on a Ray cluster gets each package in a separate folder.
    if ours.is_dir() and ours not in [Path(place).resolve() for place in places]:
        raise ImportError(
            f"{', '.join(places) or 'nothing'} is imported as `model` and hides convladder's own {ours}. "
            "Rename it, or start Python where it is not on the path."
        )


_check_model_is_ours()


def __getattr__(name: str) -> Any:
    # Ray, torch and pandas take seconds to import; `--help` and a bad flag should not wait for them.
    if name in _ROOMS:
        return getattr(import_module(f"search.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'search' has no attribute {name!r}")
