"""The record in a database: Optuna's tables, one transaction for each write, nothing read back.

A run is the only writer of its trials, so it reads what it has written from memory. Notes may come from others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.paths import sqlite_file
from search.study.backup import DatabaseBackup
from search.study.transactions import IsWritten, Transactions, server_options

_STUDY_FACTS, _TRIALS, _PARAMS, _FACTS, _LIMITS, _SCORES, _VALUES = (
    model.__table__
    for model in (
        models.StudyUserAttributeModel,
        models.TrialModel,
        models.TrialParamModel,
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
        models.TrialIntermediateValueModel,
        models.TrialValueModel,
    )
)
_FINITE_SCORE = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
_FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE


class DatabaseStorage(InMemoryStorage):
    """One study of a database, held in memory, too. A trial's id is its number. Scores must be finite."""

    def __init__(self, url: str, name: str) -> None:
        """Reads the study `name` if the database holds it. Errors of SQLAlchemy and Optuna pass."""
        super().__init__()
        file = sqlite_file(url)
        self._storage = RDBStorage(url, engine_kwargs=server_options(url) if file is None else None)
        self._study_key = -1
        self._trial_keys: dict[int, int] = {}
        self.transactions = Transactions(
            self._storage.engine,
            is_server=file is None,
            after_group=(lambda: None) if file is None else DatabaseBackup(file).take_if_due,
        )
        with contextlib.suppress(KeyError):
            self._read(self._storage.get_study_id_from_name(name), name)
        self.close()

    def close(self) -> None:
        """Closes the connections; the next write opens one."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def refresh_notes(self) -> None:
        """Reads what others have written about the study as a whole since it was read."""
        rows = sa.select(_STUDY_FACTS.c.key, _STUDY_FACTS.c.value_json).where(
            _STUDY_FACTS.c.study_id == self._study_key
        )

        def read(connection: sa.Connection) -> None:
            for key, text in connection.execute(rows):
                super(DatabaseStorage, self).set_study_user_attr(0, key, json.loads(text))

        self.transactions.write(read)

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._study_key = self._storage.create_new_study(directions, study_name)
        return super().create_new_study(directions, study_name)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        is_new, text = key not in self.get_study_user_attrs(study_id), json.dumps(value)
        super().set_study_user_attr(study_id, key, json.loads(text))
        self._put(_STUDY_FACTS, is_new, {"study_id": self._study_key, "key": key}, value_json=text)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        assert template_trial is not None
        texts = {key: json.dumps(value) for key, value in template_trial.user_attrs.items()}
        template_trial.user_attrs = {key: json.loads(text) for key, text in texts.items()}
        number = super().create_new_trial(study_id, template_trial)
        self.transactions.write(lambda connection: self._insert_trial(connection, template_trial, number, texts))
        return number

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        is_new, text = key not in self.get_trial(trial_id).user_attrs, json.dumps(value)
        super().set_trial_user_attr(trial_id, key, json.loads(text))
        self._put(_FACTS, is_new, {"key": key}, trial_id, value_json=text)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        is_new = step not in self.get_trial(trial_id).intermediate_values
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        stored = {"intermediate_value": intermediate_value, "intermediate_value_type": _FINITE_SCORE}
        self._put(_SCORES, is_new, {"step": step}, trial_id, **stored)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        is_new = self.get_trial(trial_id).values is None
        is_set = super().set_trial_state_values(trial_id, state, values)
        ended = _utc(self.get_trial(trial_id).datetime_complete)
        self._put(_TRIALS, False, {}, trial_id, state=state, datetime_complete=ended)
        for objective, value in enumerate(values or ()):
            self._put(_VALUES, is_new, {"objective": objective}, trial_id, value=value, value_type=_FINITE_VALUE)
        return is_set

    def _read(self, study_key: int, name: str) -> None:
        """Takes the study into memory."""
        self._study_key = study_key
        study_id = super().create_new_study(self._storage.get_study_directions(study_key), name)
        for key, value in self._storage.get_study_user_attrs(study_key).items():
            super().set_study_user_attr(study_id, key, value)
        for trial in sorted(self._storage.get_all_trials(study_key, deepcopy=False), key=lambda one: one.number):
            self._trial_keys[super().create_new_trial(study_id, trial)] = trial._trial_id

    def _insert_trial(
        self, connection: sa.Connection, trial: FrozenTrial, number: int, texts: Mapping[str, str]
    ) -> None:
        if self.transactions.is_repeating:
            known = sa.select(_TRIALS).where(_TRIALS.c.study_id == self._study_key, _TRIALS.c.number == number)
            if connection.execute(known).first() is not None:
                raise IsWritten
        row = {
            "study_id": self._study_key,
            "number": number,
            "state": trial.state,
            "datetime_start": _utc(trial.datetime_start),
            "datetime_complete": _utc(trial.datetime_complete),
        }
        keys = connection.execute(sa.insert(_TRIALS), row).inserted_primary_key
        assert keys is not None
        key = self._trial_keys[number] = keys[0]
        params = [
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(trial.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in trial.distributions.items()
        ]
        facts = [{"key": name, "value_json": text} for name, text in texts.items()]
        limits = [{"key": name, "value_json": json.dumps(value)} for name, value in trial.system_attrs.items()]
        for table, rows in ((_PARAMS, params), (_FACTS, facts), (_LIMITS, limits)):
            if rows:
                connection.execute(sa.insert(table), [{"trial_id": key, **row} for row in rows])

    def _put(
        self, table: sa.Table, is_new: bool, keys: Mapping[str, Any], trial_id: int | None = None, **values: Any
    ) -> None:
        """Writes a row that is found by its keys and, if it belongs to a trial, by that trial."""

        def step(connection: sa.Connection) -> None:
            place = keys if trial_id is None else {"trial_id": self._trial_keys[trial_id], **keys}
            if is_new:
                connection.execute(sa.insert(table), {**place, **values})
            else:
                rows = (table.c[name] == value for name, value in place.items())
                connection.execute(sa.update(table).where(*rows).values(**values))

        self.transactions.write(step)


def _utc(moment: datetime | None) -> datetime | None:
    """Optuna's tables hold UTC without a zone; in memory it is local time."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
