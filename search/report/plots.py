"""The pictures of a run's page as plotly figures, for notebooks: `load_run("results/NAME").plot.curves()`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from search.analysis.results import Run
from search.errors import UserError
from search.report.data import ReportData, report_data
from search.report.labels import trial_labels
from search.report.pictures import (
    best_so_far,
    class_accuracies,
    confusion,
    cost_front,
    importances,
    learning_curves,
    parallel_coordinates,
    retrainings,
    slices,
    timeline,
)
from search.report.pictures.style import Picture, Plot

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class PlottedRun(Run):
    """A run with its pictures."""

    @cached_property
    def plot(self) -> Plots:
        """The pictures of the run's page."""
        return Plots(self)


load_run = PlottedRun.load


class Plots:
    """One method for each picture. UserError if the run has nothing to show there yet."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def curves(self) -> Figure:
        """Validation scores by epoch, a line for each trial."""
        return self._only(learning_curves.picture)

    def best_by_epochs(self) -> Figure:
        """The best score so far by epochs trained."""
        return self._only(best_so_far.by_epochs)

    def best_by_time(self) -> Figure:
        """The best score so far by training time."""
        return self._only(best_so_far.by_time)

    def importances(self) -> Figure:
        """How much each parameter matters."""
        return self._only(importances.picture)

    def parallel(self) -> Figure:
        """Parallel coordinates of the most important parameters."""
        return self._only(parallel_coordinates.picture)

    def slices(self) -> list[Figure]:
        """Scores over one parameter at a time, the most important first."""
        return self._figures(slices.picture)

    def size(self) -> Figure:
        """Scores against parameter counts."""
        return self._only(cost_front.against_size)

    def speed(self) -> Figure:
        """Scores against training speed."""
        return self._only(cost_front.against_speed)

    def confusion(self) -> Figure:
        """The winner's predictions for the test images by true class."""
        return self._only(confusion.picture)

    def classes(self) -> Figure:
        """The winner's test accuracy on each class."""
        return self._only(class_accuracies.picture)

    def retrainings(self) -> Figure:
        """Training losses of the retrainings by epoch."""
        return self._only(retrainings.picture)

    def timeline(self) -> Figure:
        """What each worker trained when."""
        return self._only(timeline.picture)

    def _only(self, make: Callable[[ReportData], Picture | None]) -> Figure:
        (figure,) = self._figures(make)
        return figure

    def _figures(self, make: Callable[[ReportData], Picture | None]) -> list[Figure]:
        picture = make(self._data)
        if picture is None or not picture.plots:
            reason = "" if picture is None else f" {picture.sentence}"
            raise UserError(f"{self._run.run_dir} has nothing to show in this picture yet.{reason}")
        return [self._figure(plot) for plot in picture.plots]

    @cached_property
    def _data(self) -> ReportData:
        return report_data(self._run)

    @cached_property
    def _labels(self) -> dict[str, str]:
        keys = list(self._run.space.parameters)
        return trial_labels(self._data.trials, keys, self._data.winner_number, self._run.metric)

    def _figure(self, plot: Plot) -> Figure:
        # Imported late: it takes a second.
        from plotly.graph_objects import Figure

        figure = _coloured(plot.figure, _light_colours())
        for trace in figure["data"]:
            if trace.get("meta") == "trials":
                trace["hovertext"] = [self._labels[str(number)] for number in trace["customdata"]]
        return Figure(figure).update_layout(height=plot.height, paper_bgcolor="white", plot_bgcolor="white")


def _light_colours() -> dict[str, str]:
    """The page's CSS variables in its light colours."""
    css = resources.files("search.report").joinpath("report.css").read_text(encoding="utf-8")
    return dict(re.findall(r"(--[\w-]+): ([^;]+);", css.partition("}")[0]))


def _coloured(value: Any, colours: dict[str, str]) -> Any:
    """The value with the colours that CSS variables stand for, as the page's script does it."""
    if isinstance(value, str):
        return colours[value] if value.startswith("--") else value
    if isinstance(value, dict):
        return {key: _coloured(part, colours) for key, part in value.items()}
    return [_coloured(part, colours) for part in value] if isinstance(value, list | tuple) else value
