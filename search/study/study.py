"""The record of a run: every trial's config, scores, decisions and end, in one Optuna study in a database.

Each write is one transaction, at the moment it happens, or of one `one_write`. The order lets a resume finish any write
that was cut off: config before training, an epoch's metrics before its score, a score before its decision, the status
last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from search.errors import OtherFormatError, UserError
from search.paths import sqlite_file
from search.settings import RECORD_VERSION, SearchSettings
from search.study.database import DatabaseStorage
from search.study.integrity import database_advice
from search.study.record import NewTrial, RungDecision, TrialRecord, TrialStatus
from search.study.retrain_record import RetrainRecord, table_order
from search.study.transactions import database_reason

EARLY_END_NOTE = "early_end"
"""The note with the sentence that time or people ended the search; None if a later resume went on."""
_RETRAINING = "retraining:"
_PACKAGES = {"psycopg": "-e '.[postgres]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""What pip installs for a database's driver, where its name is another."""
# Optuna must never see a rejected or diverged config as failed: its samplers forget failures and propose them again.
_OPTUNA_STATES = {
    TrialStatus.COMPLETED: TrialState.COMPLETE,
    TrialStatus.STOPPED: TrialState.PRUNED,
    TrialStatus.DIVERGED: TrialState.PRUNED,
    TrialStatus.REJECTED: TrialState.PRUNED,
    TrialStatus.FAILED: TrialState.FAIL,
}


class RunStudy:
    """One run's trials in an Optuna storage. One process writes; any number may read."""

    def __init__(self, storage: BaseStorage, name: str, *, create: bool = True) -> None:
        """Opens the study `name`, or creates it if `create`. UserError if another version of the program wrote it."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.storage = storage
        self.name = name
        self.database = storage if isinstance(storage, DatabaseStorage) else None
        """The storage if it is a database, None in memory."""
        try:
            self._study_id = storage.get_study_id_from_name(name)
        except KeyError:
            if not create:
                raise UserError(
                    f"the database holds no run named {name}. Give the database that the run was begun with."
                ) from None
            self._study_id = storage.create_new_study([StudyDirection.MAXIMIZE], name)
            self.set_note("record_version", RECORD_VERSION)
        version = self._known_notes().get("record_version")
        if version != RECORD_VERSION:
            raise OtherFormatError(
                f"the record of {name} was written by another version (record {version}, this program writes "
                f"{RECORD_VERSION}). Use that version or start a new run."
            )

    @classmethod
    def in_memory(cls) -> RunStudy:
        """A record that ends with the process, for simulations and tests."""
        return cls(InMemoryStorage(), "in memory")

    @classmethod
    def in_database(cls, url: str, name: str, *, create: bool = True) -> RunStudy:
        """A record behind a SQLAlchemy URL, read once. Later changes by others are not seen."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # the storage speaks before the study does
        return cls(DatabaseStorage(url, name), name, create=create)

    @contextlib.contextmanager
    def one_write(self) -> Iterator[None]:
        """What is written in the block reaches the database at its end, as one transaction."""
        with self.database.transactions.one_write() if self.database else contextlib.nullcontext():
            yield

    def add_trial(self, trial: NewTrial, *, is_rejected: bool = False) -> int:
        """Writes a trial's config, seed and state in one transaction; returns its number."""
        status = TrialStatus.REJECTED if is_rejected else TrialStatus.RUNNING
        attributes = {
            "status": status.value,
            "origin": trial.origin,
            "seed": trial.seed,
            "config": dict(trial.config),
            "profile": dict(trial.profile),
        }
        template = create_trial(
            state=TrialState.PRUNED if is_rejected else TrialState.RUNNING,
            params=dict(trial.params),
            distributions=dict(trial.distributions),
            user_attrs=attributes,
            constraints=dict(trial.violations),
        )
        trial_id = self.storage.create_new_trial(self._study_id, template_trial=template)
        return self.storage.get_trial_number_from_id(trial_id)

    def record_epoch(self, number: int, *, epoch: int, score: float, metrics: Mapping[str, Any]) -> None:
        """Writes an epoch's metrics, then its score. An epoch counts once its score is written.

        `metrics` may bring its own `recorded_at` (Unix time); otherwise it is now.
        """
        trial_id = self._trial_id(number)
        with self.one_write():
            self.storage.set_trial_user_attr(trial_id, f"epoch:{epoch:04d}", {"recorded_at": time.time(), **metrics})
            self.storage.set_trial_intermediate_value(trial_id, epoch, float(score))

    def record_rung(self, number: int, decision: RungDecision) -> None:
        """Writes the decision made at a rung, with the numbers it was based on."""
        values = {
            "score": decision.score,
            "cutoff": decision.cutoff,
            "num_scores": decision.num_scores,
            "is_stopped": decision.is_stopped,
            "is_sent_to_end": decision.is_sent_to_end,
            "is_at_chance": decision.is_at_chance,
            "next_epochs": decision.next_epochs,
        }
        self.storage.set_trial_user_attr(self._trial_id(number), f"rung:{decision.epoch:04d}", values)

    def finish(self, number: int, status: TrialStatus, *, value: float | None = None, error: str | None = None) -> None:
        """Ends a trial for good. `value` is the last score of a completed trial."""
        trial_id = self._trial_id(number)
        values = [value] if status is TrialStatus.COMPLETED and value is not None else None
        with self.one_write():
            if error is not None:
                self.storage.set_trial_user_attr(trial_id, "error", error)
            self.storage.set_trial_user_attr(trial_id, "status", status.value)
            self.storage.set_trial_state_values(trial_id, _OPTUNA_STATES[status], values)

    def trials(self, *, is_running: bool = False) -> list[TrialRecord]:
        """All trials by number. An unfinished trial is RUNNING if `is_running`, else INTERRUPTED."""
        frozen = self.storage.get_all_trials(self._study_id, deepcopy=False)
        return [_record_of(trial, is_running=is_running) for trial in frozen]

    def trial(self, number: int) -> TrialRecord:
        """One trial; RUNNING if it is unfinished."""
        return _record_of(self.storage.get_trial(self._trial_id(number)), is_running=True)

    @property
    def num_trials(self) -> int:
        """Trials in the record, rejected ones included: the number of the next trial."""
        return self.storage.get_n_trials(self._study_id)

    def record_retrain(self, record: RetrainRecord) -> None:
        """Writes a retraining as far as it has come, in place of what the record has under its key."""
        self.set_note(f"{_RETRAINING}{record.key}", record.to_note())

    def retrains(self) -> list[RetrainRecord]:
        """All retrainings that have ended: the winner's, the baselines', then the finalists', each by seed."""
        notes = self._known_notes().items()
        records = (RetrainRecord.from_note(note) for key, note in notes if key.startswith(_RETRAINING))
        return sorted((record for record in records if record.is_ended), key=table_order)

    def retrain(self, key: str) -> RetrainRecord | None:
        """The retraining with this key, ended or not; None before its first epoch."""
        note = self._known_notes().get(f"{_RETRAINING}{key}")
        return None if note is None else RetrainRecord.from_note(note)

    def set_note(self, key: str, value: Any) -> None:
        """Writes one JSON-able fact about the run as a whole."""
        self.storage.set_study_user_attr(self._study_id, key, value)

    def notes(self) -> dict[str, Any]:
        """All facts about the run as a whole, those that other processes have written meanwhile included."""
        if self.database is not None:
            self.database.refresh_notes()
        return self._known_notes()

    def _known_notes(self) -> dict[str, Any]:
        return self.storage.get_study_user_attrs(self._study_id)

    @property
    def seconds_away(self) -> float:
        """How long the run has waited for the database's server."""
        return self.database.transactions.seconds_away if self.database else 0.0

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def open_study(settings: SearchSettings, *, create: bool = True) -> RunStudy:
    """The record of a run, created if `create`; UserError if its database cannot be opened."""
    try:
        return RunStudy.in_database(settings.storage_url, settings.run_name, create=create)
    except UserError:
        raise
    except (SQLAlchemyError, RuntimeError, ImportError, ValueError) as error:
        reason = database_reason(error)
        if isinstance(error.__cause__, ModuleNotFoundError):
            driver = str(error.__cause__.name)
            raise UserError(
                f"--storage {settings.storage} needs the package {driver}, not installed here: "
                f"pip install {_PACKAGES.get(driver, driver)}"
            ) from None
        if settings.storage is None:
            raise UserError(database_advice(settings.run_dir, reason)) from None
        is_answer_of_server = isinstance(error, OperationalError) and sqlite_file(settings.storage) is None
        advice = (
            "Check that the server runs, the name of the database, and the password in PGPASSWORD or ~/.pgpass."
            if is_answer_of_server
            else "Give a SQLAlchemy URL such as postgresql+psycopg://user@host/name."
        )
        raise UserError(f"--storage {settings.storage} cannot be opened: {reason}. {advice}") from None


def _record_of(trial: FrozenTrial, *, is_running: bool) -> TrialRecord:
    attributes = trial.user_attrs
    status = TrialStatus(attributes["status"])
    if not trial.state.is_finished():
        # The status is written just before Optuna's state; only the state makes an end final.
        status = TrialStatus.RUNNING if is_running else TrialStatus.INTERRUPTED
    return TrialRecord(
        number=trial.number,
        status=status,
        origin=attributes["origin"],
        seed=attributes["seed"],
        config=attributes["config"],
        params=trial.params,
        violations=trial.constraints,
        profile=attributes["profile"],
        scores=dict(sorted(trial.intermediate_values.items())),
        epoch_metrics={int(key[6:]): attributes[key] for key in _keys_with(attributes, "epoch:")},
        rungs=tuple(RungDecision(epoch=int(key[5:]), **attributes[key]) for key in _keys_with(attributes, "rung:")),
        # The error is written before the status: a trial cut off in between may go on and end well.
        error=attributes.get("error") if status in (TrialStatus.FAILED, TrialStatus.DIVERGED) else None,
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def _keys_with(attributes: Mapping[str, Any], prefix: str) -> Iterable[str]:
    return sorted(key for key in attributes if key.startswith(prefix))
