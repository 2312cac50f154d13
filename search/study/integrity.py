"""Checks that a SQLite record is whole, before anything trusts it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from search.paths import sqlite_file
from search.settings import SearchSettings

# One transaction writes a trial's five facts and, if it was sampled, all its values, and one all that follows from a
# report: metrics, score, decision and end. A copy made by hand may lack some.
_INCOMPLETE_TRIALS = """
WITH facts AS (SELECT trial_id, key, value_json AS value FROM trial_user_attributes),
counted AS (
    SELECT
        trial_id AS id,
        state <> 'RUNNING' AS is_ended,
        (SELECT count(*) FROM facts WHERE trial_id = trials.trial_id
            AND key IN ('status', 'origin', 'seed', 'config', 'profile')) AS num_facts,
        (SELECT count(*) FROM trial_params WHERE trial_id = trials.trial_id) AS num_values,
        (SELECT max(step) FROM trial_intermediate_values WHERE trial_id = trials.trial_id) AS last_epoch,
        (SELECT value FROM facts WHERE trial_id = trials.trial_id AND key = 'origin') AS origin,
        (SELECT value FROM facts WHERE trial_id = trials.trial_id AND key = 'status') AS status
    FROM trials
)
SELECT count(*) FROM counted
WHERE num_facts < 5
    OR origin = '"sampled"' AND num_values < (SELECT max(num_values) FROM counted)
    OR is_ended AND status = '"running"'
    OR last_epoch AND NOT EXISTS (SELECT 1 FROM facts WHERE trial_id = id AND key = printf('epoch:%04d', last_epoch))
"""


def database_advice(run_dir: Path, reason: str) -> str:
    """What to do about a record that cannot be read, in one line."""
    path, backup = run_dir / "study.db", run_dir / "study.backup.db"
    if "locked" in reason:
        return f"{path} is in use by another program ({reason}). Close that, or try again."
    if backup.is_file():
        return f"{path} is damaged ({reason}). Restore the last good copy: cp {backup} {path}"
    return f"{path} is damaged ({reason}) and there is no {backup.name} yet. Restore it from your own copy."


def record_problems(run_dir: Path, settings: SearchSettings) -> list[str]:
    """One line if the SQLite record is missing, where Optuna would create an empty one, or is not whole."""
    if settings.storage is not None:
        file = sqlite_file(settings.storage)
        is_lost = file is not None and not file.is_file()
        return [f"--storage {settings.storage}: {file} is missing. Restore it from a copy."] if is_lost else []
    path = run_dir / "study.db"
    if not path.is_file():
        return [database_advice(run_dir, "it is missing")]
    try:
        with sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True) as connection:
            # The quick check misses a file that was copied during a write, where an index lacks a row.
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            is_torn = connection.execute("PRAGMA foreign_key_check").fetchone() is not None
            (num_incomplete,) = connection.execute(_INCOMPLETE_TRIALS).fetchone()
    except sqlite3.Error as error:
        return [database_advice(run_dir, str(error))]
    if verdict == "ok" and (is_torn or num_incomplete):
        verdict = "some trials are incomplete"
    return [] if verdict == "ok" else [database_advice(run_dir, " ".join(verdict.split()))]
