"""What people ask of a run while it goes on, kept in its record: who asked for what and when, and the run's answer.

A wish is written once, by whoever asks, and answered once, by the run. Both are notes of the study under the wish's
number, so neither side overwrites what the other wrote.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from search.options import Options, option
from search.run_options import MAX_TRIALS
from search.text import duration

if TYPE_CHECKING:
    from search.study.study import RunStudy

Action = Literal["pause", "continue", "stop", "cancel"]
ACTIONS: dict[Action, str] = {
    "pause": "start no trial; running trials go on to their next rung and wait, and their workers end",
    "continue": "go on after --pause, or with the search after --stop",
    "stop": "end the search at the running trials' next epoch and retrain the winner so far",
    "cancel": "end the run now, as Ctrl-C does; --resume goes on with it",
}
"""What each action asks for."""
_WISH, _ANSWER = "wish:", "wish_answer:"
_GROUP = "steering"


class Wish(Options):
    """What a run is asked to do. Several changes in one wish happen together, the action last."""

    action: Action | None = option("action", _GROUP, "what the run does from now on")
    num_trials: int | None = option(
        "trials", _GROUP, "trials to train in all, those that have started included", ge=1, le=MAX_TRIALS
    )
    time_budget_s: float | None = option(
        "time-budget", _GROUP, "time for the run in all, such as 45min or 2h, without pauses", unit="s", ge=1
    )
    num_slots: int | None = option(
        "slots", _GROUP, "trials side by side; surplus workers end at their trial's next rung", ge=1
    )

    @model_validator(mode="after")
    def _check_sense(self) -> Self:
        changes = self.changes
        if self.action is None and not changes:
            raise ValueError("nothing was asked. Give an action or a change")
        if self.action in ("stop", "cancel") and changes:
            raise ValueError(f"{self.action} ends the search, so {', '.join(changes)} cannot be asked with it")
        return self

    @property
    def changes(self) -> list[str]:
        """The asked values in words, such as "30 trials"."""
        texts = [
            (self.num_trials, f"{self.num_trials} trial{'s' if self.num_trials != 1 else ''}"),
            (self.time_budget_s, f"a time budget of {duration(self.time_budget_s)}"),
            (self.num_slots, f"{self.num_slots} slot{'s' if self.num_slots != 1 else ''}"),
        ]
        return [text for value, text in texts if value is not None]

    @property
    def words(self) -> str:
        """The whole wish in words, such as "30 trials, continue"."""
        return ", ".join([*self.changes, *([self.action] if self.action else [])])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run did about a wish."""

    is_done: bool
    """False if it came to nothing, as when the search was over."""
    text: str
    """Why it came to nothing; else empty."""
    at: float
    """Unix time."""


@dataclass(frozen=True, kw_only=True)
class AskedWish:
    """A wish as the record has it."""

    number: int
    """Counts the wishes to a run, from 1."""
    wish: Wish
    by: str
    """Who asked."""
    at: float
    """When, as Unix time."""
    answer: Answer | None = None
    """None until the run has taken it up."""

    @property
    def moment(self) -> str:
        """When it was asked, in UTC."""
        return datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def add_wish(study: RunStudy, wish: Wish, *, by: str) -> AskedWish:
    """Writes a wish into the record, in one transaction. The caller keeps others from adding one meanwhile."""
    number = max((asked.number for asked in wishes_of(study.notes())), default=0) + 1
    asked = AskedWish(number=number, wish=wish, by=by, at=time.time())
    values = wish.model_dump(exclude_none=True)
    study.set_note(f"{_WISH}{number:06d}", {"wish": values, "by": by, "at": asked.at})
    return asked


def answer_wish(study: RunStudy, number: int, *, is_done: bool = True, text: str = "") -> None:
    """Writes the run's answer to a wish."""
    study.set_note(f"{_ANSWER}{number:06d}", {"is_done": is_done, "text": text, "at": time.time()})


def wishes_of(notes: Mapping[str, Any]) -> list[AskedWish]:
    """All wishes among the notes of a study, by number."""
    return [_asked(key, notes) for key in sorted(notes) if key.startswith(_WISH)]


def open_wishes(notes: Mapping[str, Any]) -> list[AskedWish]:
    """The wishes that the run has not answered, by number."""
    return [_asked(key, notes) for key in sorted(notes) if key.startswith(_WISH) and _answer_key(key) not in notes]


def _answer_key(wish_key: str) -> str:
    return _ANSWER + wish_key.removeprefix(_WISH)


def _asked(key: str, notes: Mapping[str, Any]) -> AskedWish:
    note, answer = notes[key], notes.get(_answer_key(key))
    return AskedWish(
        number=int(key.removeprefix(_WISH)),
        wish=Wish(**note["wish"]),
        by=note["by"],
        at=note["at"],
        answer=None if answer is None else Answer(**answer),
    )
