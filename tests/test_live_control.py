"""A run takes up wishes from its record: in their order, each once, and says what it did."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from run_documents import make_document
from search_worlds import study_of
from sqlalchemy.exc import OperationalError

from search.display.display import Display
from search.errors import RunInterrupted
from search.live_control import LiveControl
from search.machine.signals import StopRequest
from search.report.page import LivePage
from search.schedulers.steering import Steering
from search.setup.control import drop_old_wishes
from search.setup.document import read_document
from search.setup.run_folder import RunFolder
from search.study.study import RunStudy
from search.study.wishes import Wish, add_wish, wishes_of


class Page(LivePage):
    """A page that counts how often it was written."""

    num_written = 0

    def update(self, *, at_once: bool = False) -> None:
        self.num_written += at_once


@pytest.fixture
def control(tmp_path: Path) -> LiveControl:
    """Of a run with five trials in two slots; it looks at its record whenever it is asked to."""
    (tmp_path / "run.toml").write_text(make_document(num_trials=9).to_toml())
    return LiveControl(
        steering=Steering(num_trials=9, num_slots=2),
        study=study_of(*[[0.5]] * 5),
        folder=RunFolder(tmp_path),
        display=Display(io.StringIO()),
        page=Page(tmp_path, lambda _words: None),
        stop=StopRequest(),
    )


def look(control: LiveControl) -> None:
    control.next_look = 0.0
    control.check()


def answers(study: RunStudy) -> list[tuple[bool, str] | None]:
    given = [one.answer for one in wishes_of(study.notes())]
    return [None if answer is None else (answer.is_done, answer.text) for answer in given]


def ask(control: LiveControl, wish: Wish, by: str = "anna") -> None:
    add_wish(control.study, wish, by=by)


def test_wishes_are_taken_up_in_their_order_and_answered_once(control: LiveControl) -> None:
    changes: list[str | None] = []
    control.on_change = lambda: changes.append(control.steering.words)
    ask(control, Wish(action="pause", num_slots=1), by="ben")
    ask(control, Wish(num_trials=4))
    ask(control, Wish(action="continue"))
    look(control)
    look(control)
    assert changes == ["paused by ben, 1 of 2 slots", "1 of 2 slots"]
    assert answers(control.study) == [(True, ""), (False, "5 trials have started already"), (True, "")]
    assert isinstance(control.page, Page)
    assert control.page.num_written == 2
    said = control.display._console.file.getvalue()  # type: ignore[attr-defined]
    assert said.splitlines() == [
        "ben asked: 1 slot, pause",
        "anna asked: 4 trials; not done, 5 trials have started already",
        "anna asked: continue",
    ]


def test_it_looks_once_a_second_and_a_failed_look_changes_nothing(
    control: LiveControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(control)
    ask(control, Wish(action="pause"))
    control.check()
    assert not control.steering.is_paused
    with monkeypatch.context() as patch:
        error = OperationalError("SELECT", {}, Exception("database is locked"))
        patch.setattr(control.study, "notes", lambda: (_ for _ in ()).throw(error))
        look(control)
    look(control)
    assert control.steering.is_paused


def test_other_numbers_of_trials_and_seconds_are_the_runs_settings_from_then_on(control: LiveControl) -> None:
    before = read_document(control.folder.path)
    ask(control, Wish(num_trials=30, time_budget_s=60.0))
    look(control)
    after = read_document(control.folder.path)
    assert (after.settings.num_trials, after.settings.time_budget_s) == (30, 60.0)
    changed = before.settings.changed(num_trials=30, time_budget_s=60.0)
    assert after == before.model_copy(update={"settings": changed})


def test_a_kill_before_the_answer_loses_nothing(control: LiveControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process takes the wish up once more."""
    ask(control, Wish(num_trials=30, action="pause"))
    with monkeypatch.context() as patch:
        patch.setattr("search.live_control.answer_wish", lambda *_args, **_values: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            look(control)
    settings = read_document(control.folder.path).settings
    control.steering = Steering.of(settings, wishes_of(control.study.notes()), num_slots=2)
    assert (control.steering.num_trials, control.steering.is_paused) == (30, False)
    look(control)
    assert (control.steering.num_trials, control.steering.is_paused) == (30, True)
    assert answers(control.study) == [(True, "")]


def test_a_cancel_ends_the_run_as_sigint_does(control: LiveControl) -> None:
    ask(control, Wish(action="cancel"))
    with pytest.raises(RunInterrupted) as caught:
        look(control)
    assert caught.value.exit_code == 130
    assert answers(control.study) == [(True, "")]


def test_a_cancel_is_not_for_the_next_process(control: LiveControl) -> None:
    ask(control, Wish(action="cancel"))
    ask(control, Wish(num_slots=1))
    drop_old_wishes(control.study, read_document(control.folder.path).settings)
    look(control)
    assert answers(control.study) == [(False, "the run had ended"), (True, "")]


def test_what_comes_too_late_is_answered_too(control: LiveControl) -> None:
    ask(control, Wish(action="pause"))
    assert (control.close(), control.close()) == (1, 0)
    assert answers(control.study) == [(False, "the run has ended")]
    look(control)
    assert not control.steering.is_paused
