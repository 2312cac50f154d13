"""The curves of a run as its page draws them, computed once for all who watch."""

from __future__ import annotations

import threading
import time
from typing import Any

from search.report.data import report_data
from search.report.labels import trial_labels
from search.report.pictures import best_so_far, learning_curves, timeline
from search.service.reading import signature
from search.service.runs import Runs

INTERVAL_S, MAX_SHARE = 3.0, 0.05
"""The curves of a run are computed at most this often, and in at most this share of the time."""
_NUM_KEPT = 8


class Figures:
    """The newest curves of the runs that were watched last."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._kept: dict[str, tuple[str, float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> dict[str, Any]:
        """Figures by name, with hover labels of trials by number."""
        with self._lock:
            now, written = time.monotonic(), signature(self._runs.folders.run(name))
            if not written:
                self._runs.view(name)
                return {"labels": {}, "figures": {}}
            kept = self._kept.pop(name, None)
            if kept is None or (kept[0] != written and now >= kept[1]):
                figures, took_s = self._computed(name), time.monotonic() - now
                kept = written, now + max(INTERVAL_S, took_s / MAX_SHARE), figures
            self._kept[name] = kept
            if len(self._kept) > _NUM_KEPT:
                del self._kept[next(iter(self._kept))]
            return kept[2]

    def _computed(self, name: str) -> dict[str, Any]:
        run = self._runs.load(name)
        data = report_data(run, is_running=self._runs.supervisor.is_running(name))
        made = (learning_curves.picture(data), best_so_far.by_epochs(data), timeline.picture(data))
        return {
            "labels": trial_labels(data.trials, list(run.space.parameters), data.winner_number, run.metric),
            "figures": {plot.name: plot.figure for picture in made if picture is not None for plot in picture.plots},
        }
