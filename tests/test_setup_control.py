"""Steering a run from another process: what is written into its record, and what is refused in one line."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fabricated_run import add_trials, finalist_record
from run_documents import make_document

import search
from search import Wish, control
from search.analysis.results import Run
from search.errors import UserError
from search.setup.control import drop_old_wishes
from search.setup.document import read_document
from search.setup.run_folder import read_settings
from search.setup.run_lock import is_locked, run_lock
from search.study.study import EARLY_END_NOTE, RunStudy, open_study
from search.study.wishes import add_wish

NUM_STARTED = 4


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut_off") / "run"
    folder.mkdir()
    (folder / "run.toml").write_text(make_document("run").to_toml())
    add_trials(record_of(folder, create=True), NUM_STARTED)
    return folder


@pytest.fixture
def run_dir(cut_off: Path, tmp_path: Path) -> Path:
    """A run with some trials, in two slots, that was cut off."""
    return Path(shutil.copytree(cut_off, tmp_path / "run"))


def record_of(run_dir: Path, *, create: bool = False) -> RunStudy:
    return open_study(read_settings(run_dir), create=create)


def test_a_wish_to_a_running_run_is_in_its_record(run_dir: Path) -> None:
    with run_lock(run_dir):
        asked = control(str(run_dir), Wish(action="pause", num_slots=2), by="anna\n\x1b[31m of the lab " + 80 * "x")
        control(run_dir, Wish(action="cancel"))
    first, second = Run.load(run_dir).wishes
    assert first == asked
    assert (first.number, first.wish.action, first.wish.num_slots) == (1, "pause", 2)
    assert first.by.startswith("anna [31m of the lab xxx")
    assert len(first.by) == 80
    assert second.number == 2
    assert second.by


def test_wishes_asked_at_once_are_all_kept(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, most = [0], [0]

    def slowly(*args: Any, **values: Any) -> Any:
        writing[0] += 1
        most[0] = max(most[0], writing[0])
        time.sleep(0.1)
        asked = add_wish(*args, **values)
        writing[0] -= 1
        return asked

    monkeypatch.setattr("search.setup.control.add_wish", slowly)
    with ThreadPoolExecutor(3) as pool:
        asked = list(pool.map(lambda num_trials: control(run_dir, Wish(num_trials=num_trials)), range(4, 7)))
    assert (sorted(one.number for one in asked), most) == ([1, 2, 3], [1])
    assert sorted(one.wish.num_trials or 0 for one in Run.load(run_dir).wishes) == [4, 5, 6]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(action="pause"), r"is not running, so there is nothing to pause\. Resume it: --resume .*run$"),
        (Wish(action="cancel"), "is not running, so there is nothing to cancel"),
        (Wish(num_trials=3), r"--trials 3: this run has 4 already\. Give that many or more"),
        (Wish(num_slots=3), r"--slots 3: this run has room for 2 side by side\. Give 2 or fewer"),
    ],
)
def test_what_cannot_be_done_is_refused(run_dir: Path, wish: Wish, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        control(run_dir, wish)
    assert "\n" not in str(caught.value)
    assert Run.load(run_dir).wishes == []


def test_a_run_that_was_cut_off_gets_the_rest_when_it_is_resumed(run_dir: Path) -> None:
    for wish in (Wish(action="stop"), Wish(action="continue"), Wish(time_budget_s=60.0), Wish(num_slots=1)):
        assert control(run_dir, wish).answer is None
    drop_old_wishes(record_of(run_dir), read_settings(run_dir))
    assert [one.answer for one in Run.load(run_dir).wishes] == [None] * 4


@pytest.mark.parametrize("ends_early", [False, True])
def test_a_run_that_has_ended_is_not_steered(run_dir: Path, ends_early: bool) -> None:
    study = record_of(run_dir)
    winner = Run.load(run_dir).finals.winner
    assert winner is not None
    record = finalist_record(winner.record.number, 0, 0.9)
    study.record_retrain(record.__class__(**{**record.to_note(), "config_name": "winner", "test_accuracy": 0.8}))
    assert control(run_dir, Wish(num_trials=9)).number == 1, "an extended run that was cut off has not ended"
    if ends_early:
        study.set_note(EARLY_END_NOTE, "search stopped by anna")
    else:
        document = read_document(run_dir)
        settings = document.settings.changed(num_trials=NUM_STARTED)
        (run_dir / "run.toml").write_text(document.model_copy(update={"settings": settings}).to_toml())
    with pytest.raises(UserError, match=r"has ended\. To train more trials: --resume .*run --trials N"):
        control(run_dir, Wish(action="stop"))
    with run_lock(run_dir):
        assert control(run_dir, Wish(action="pause")).number == 2
    drop_old_wishes(study, read_settings(run_dir))  # so an extension does not take them up
    answers = [one.answer for one in Run.load(run_dir).wishes]
    assert [(one.is_done, one.text) for one in answers if one] == [(False, "the run had ended")] * 2


@pytest.mark.parametrize("missing", ["run", "run/run.toml", "run/study.db"])
def test_a_folder_that_is_no_run_is_named(run_dir: Path, missing: str) -> None:
    lost = run_dir.parent / missing
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    with pytest.raises(UserError, match=r"run(/study\.db)? (holds no run|is missing)"):
        control(run_dir, Wish(action="stop"))
    assert not (run_dir / "study.db").exists() or missing != "run/study.db"


def test_whether_a_run_is_locked(run_dir: Path) -> None:
    assert not is_locked(run_dir)
    with run_lock(run_dir):
        assert is_locked(run_dir)
    assert not is_locked(run_dir)
    assert search.control is control
