"""Takes up what people ask of a run while it goes on, and answers in its record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from search.display.display import Display
from search.machine.signals import StopRequest
from search.report.page import LivePage
from search.schedulers.steering import Steering
from search.setup.document import read_document
from search.setup.preparation import Preparation
from search.setup.run_folder import RunFolder
from search.study.record import num_ended, num_started
from search.study.study import EARLY_END_NOTE, RunStudy
from search.study.wishes import AskedWish, answer_wish, open_wishes, wishes_of
from search.text import duration

_INTERVAL_S = 1.0
"""A look is one small read of the record."""


@dataclass(kw_only=True)
class LiveControl:
    """Turns wishes in the record into a changed `steering`, in their order."""

    steering: Steering
    study: RunStudy
    folder: RunFolder
    display: Display
    page: LivePage
    stop: StopRequest
    on_change: Callable[[], None] = lambda: None
    """Called after each wish that was fulfilled."""
    next_look: float = 0.0
    """By time.monotonic()."""

    @classmethod
    def of(
        cls,
        preparation: Preparation,
        study: RunStudy,
        display: Display,
        page: LivePage,
        stop: StopRequest,
        *,
        started: float,
    ) -> LiveControl:
        """For a run that is steered as its settings and its record say. `started`: see `Steering.of`."""
        settings, slots = preparation.settings, preparation.machine.slots
        steering = Steering.of(settings, wishes_of(study.notes()), num_slots=slots.num_concurrent, started=started)
        if steering.words:
            display.warning(f"{steering.words}, as asked of an earlier process; see `tune_main.py control`")
        return cls(
            steering=steering,
            study=study,
            folder=RunFolder(settings.run_dir),
            display=display,
            page=page,
            stop=stop,
        )

    def check(self) -> None:
        """Looks for wishes, at most once a second. Raises RunInterrupted for a cancel unless that is deferred."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + _INTERVAL_S
        try:
            found = open_wishes(self.study.notes())
        except SQLAlchemyError:
            return  # if it lasts, the next write fails, too
        for asked in found:
            self._take_up(asked)

    def close(self) -> int:
        """The run has ended: answers what came too late. Returns the number of such wishes."""
        late = open_wishes(self.study.notes())
        for asked in late:
            answer_wish(self.study, asked.number, is_done=False, text="the run has ended")
        return len(late)

    def _take_up(self, asked: AskedWish) -> None:
        """Acts before it answers: a wish whose answer a kill cut off is taken up again, which changes nothing."""
        wish = asked.wish
        objection = self.steering.objection(wish, num_started=num_started(self.study.trials()))
        if objection is None:
            self.steering.obey(asked)
            if wish.num_trials is not None or wish.time_budget_s is not None:
                self._keep_settings()
        answer_wish(self.study, asked.number, is_done=objection is None, text=objection or "")
        self.display.message(f"{asked.by} asked: {wish.words}{f'; not done, {objection}' if objection else ''}")
        if objection is None:
            self.on_change()
            self.page.update(at_once=True)
        if wish.action == "cancel":
            self.stop.request()

    def _keep_settings(self) -> None:
        """So that tables, page and a resume have the numbers that hold now."""
        document = read_document(self.folder.path)
        settings = document.settings.changed(
            num_trials=self.steering.num_trials, time_budget_s=self.steering.time_budget_s
        )
        self.folder.write_settings(settings, document.data)


def note_early_end(steering: Steering, study: RunStudy, display: Display) -> None:
    """Says so if time or people ended the search before all trials were trained."""
    records = study.trials()
    ended, started = num_ended(records), num_started(records)
    count, words = f"{started} of {steering.num_trials} trials had started and {ended} had ended", None
    if ended < steering.num_trials:
        if steering.is_stopped:
            rest = f"To train the rest, resume the run with {steering.num_trials} trials (--trials)"
            words = f"search stopped by {steering.by}: {count}. {rest}"
        elif steering.time_budget_s is not None:
            spent = f"time budget of {duration(steering.time_budget_s)} used up"
            words = f"{spent}: {count}. Resume the run, or extend it, for more"
    study.set_note(EARLY_END_NOTE, words)
    if words:
        display.warning(words)
