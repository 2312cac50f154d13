"""The record of a run, opened so that the run waits while its server is away."""

from __future__ import annotations

from search.display.display import Display
from search.machine.signals import StopRequest
from search.settings import SearchSettings
from search.study.study import RunStudy, open_study
from search.study.transactions import PATIENCE_S
from search.text import duration


def open_waiting(settings: SearchSettings, display: Display, stop: StopRequest, *, create: bool = True) -> RunStudy:
    """The record of a run that waits while the record's server is away, and says so."""
    study = open_study(settings, create=create)

    def wait(reason: str | None) -> None:
        if reason is not None:
            patience = duration(PATIENCE_S)
            display.warning(f"the record's server does not answer: {reason}; the run waits for at most {patience}")
        display.tick()
        stop.check()

    if study.database is not None:
        study.database.transactions.on_wait = wait
    return study
