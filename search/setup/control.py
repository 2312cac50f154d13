"""Asks a run to change course while it goes on, from any process that can write its record."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from search.errors import UserError
from search.notify import ASKED_BY, OWNER
from search.paths import from_here
from search.settings import SearchSettings
from search.setup.document import RunDocument, read_document
from search.setup.run_folder import read_settings
from search.setup.run_lock import is_locked
from search.study.finals import RetrainPlan, finals_of
from search.study.record import TrialRecord, num_ended, num_started
from search.study.study import EARLY_END_NOTE, RunStudy, open_study
from search.study.wishes import Answer, AskedWish, Wish, add_wish, answer_wish, open_wishes, wishes_of

_PATIENCE_S = 10.0
"""How long to wait while others write a wish to the same run."""
_LOOK_S = 0.2
_NAME_LENGTH = 80


def control(run_dir: str | Path, wish: Wish, *, by: str | None = None) -> AskedWish:
    """Writes a wish into a run's record and returns at once, with the wish's number.

    A running run takes it up within about a second and writes its answer into the record; `load_run(run_dir).wishes`
    shows both. While a run prepares or tests, a wish waits for the next stage. `by`: who asks; by default who extends a
    run of the service, or its owner, else the user of this process. Wishes are answered in the order of their numbers,
    each once, also after a kill and a resume; what was asked of a run holds until another wish says otherwise:

    - pause: no trial starts, running ones wait at their next rung (a retraining: after its epoch), their workers end.
      The time budget waits, too.
    - continue: undoes pause, and stop if the run was cut off since.
    - stop: running trials end at their next epoch, keep their checkpoints, and the winner so far is retrained.
    - cancel: as SIGINT. It is for the running process; one that is resumed has nothing to do with it.
    - num_trials, time_budget_s: replace the settings. More trials than before undo stop.
    - num_slots: 1 to the run's own number of slots.

    If the run is not running but unfinished, pause and cancel are refused, and the rest is taken up when it is resumed.
    UserError, and nothing is asked: no run in the folder, the run has ended, fewer trials than have started, more slots
    than the run has.
    """
    folder = Path(run_dir).expanduser()
    document, settings = read_document(folder), read_settings(folder)
    if settings.storage is None and not (folder / "study.db").is_file():
        raise UserError(f"{folder / 'study.db'} is missing, so the run cannot be steered. Restore it from a copy.")
    study = open_study(settings, create=False)
    name = " ".join((by or os.environ.get(ASKED_BY) or os.environ.get(OWNER) or psutil.Process().username()).split())
    try:
        with FileLock(folder / "control.lock", timeout=_PATIENCE_S):
            _refuse_impossible(folder, document, study, wish)
            return add_wish(study, wish, by="".join(filter(str.isprintable, name))[:_NAME_LENGTH])
    except Timeout:
        raise UserError(f"{folder} is being steered by another process. Try again.") from None
    except OSError as error:
        raise UserError(f"{folder} is not writable ({error.strerror}). Check its permissions.") from None


def await_answer(run_dir: Path, asked: AskedWish, patience_s: float) -> Answer | None:
    """The run's answer to a wish, as soon as it is there; None if the run gives none in time."""
    study, deadline = open_study(read_settings(run_dir), create=False), time.monotonic() + patience_s
    while True:
        answer = next(one.answer for one in wishes_of(study.notes()) if one.number == asked.number)
        if answer is not None or time.monotonic() > deadline:
            return answer
        time.sleep(_LOOK_S)


def drop_old_wishes(study: RunStudy, settings: SearchSettings) -> None:
    """Answers what an earlier process did not live to see: each cancel, and every wish if the run had ended.

    For a process that begins. `settings`: as the run has them, before this process changes any.
    """
    has_ended = _has_ended(study, study.trials(), settings)
    for asked in open_wishes(study.notes()):
        if has_ended or asked.wish.action == "cancel":
            answer_wish(study, asked.number, is_done=False, text="the run had ended")


def _refuse_impossible(run_dir: Path, document: RunDocument, study: RunStudy, wish: Wish) -> None:
    """UserError if the run cannot do what is asked."""
    shown, trials = from_here(run_dir), study.trials()
    if not is_locked(run_dir):
        if _has_ended(study, trials, document.settings):
            raise UserError(f"{shown} has ended. To train more trials: --resume {shown} --trials N.")
        if wish.action in ("pause", "cancel"):
            raise UserError(
                f"{shown} is not running, so there is nothing to {wish.action}. Resume it: --resume {shown}"
            )
    started = num_started(trials)
    if wish.num_trials is not None and wish.num_trials < started:
        raise UserError(f"--trials {wish.num_trials}: this run has {started} already. Give that many or more.")
    most = document.slots.num_concurrent
    if wish.num_slots is not None and wish.num_slots > most:
        raise UserError(f"--slots {wish.num_slots}: this run has room for {most} side by side. Give {most} or fewer.")


def _has_ended(study: RunStudy, trials: Sequence[TrialRecord], settings: SearchSettings) -> bool:
    """Whether the search is over and its winner tested."""
    if num_ended(trials) < settings.num_trials and not study.notes().get(EARLY_END_NOTE):
        return False
    retrains = study.retrains()
    winner = finals_of(trials, retrains, RetrainPlan.of(settings)).winner
    return winner is not None and any(
        one.config_name == "winner" and one.trial_number == winner.record.number for one in retrains
    )
