"""The console: plain lines if the output is not a terminal, one live panel if it is."""

import io
from collections.abc import Callable

import pytest
from fabricated_run import finalist_record
from trial_records import stopped_and_failed

from search.display.display import Display
from search.display.progress import Progress
from search.study.record import RungDecision, TrialStatus
from search.study.study import RunStudy
from search.worker.step_counts import StepCount


def metrics(epoch: int, accuracy: float) -> dict[str, object]:
    return {"epoch": epoch, "val_score": accuracy, "images_per_s": 1234.0, "seconds": 5.0}


@pytest.fixture
def study() -> RunStudy:
    """Trial 0 stopped at a rung, trial 1 failed, trial 2 running."""
    return stopped_and_failed(num_trials=3)


def shown(play: Callable[[Display], None]) -> str:
    stream = io.StringIO()
    play(Display(stream))
    return stream.getvalue()


def test_a_stop_among_equals_is_not_said_to_be_worse_than_the_cutoff(study: RunStudy) -> None:
    study.record_epoch(2, epoch=1, score=0.5, metrics={})
    study.record_rung(2, RungDecision(epoch=1, score=0.5, cutoff=0.5, num_scores=3, is_stopped=True))
    study.finish(2, TrialStatus.STOPPED)

    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9, 20.0, rung_epochs=(1, 3)))
        display.end(study.trial(2))

    assert "validation accuracy 50.00 %, at the cutoff 50.00 %" in shown(play)


def test_warnings_are_loud_and_text_is_not_taken_for_markup() -> None:
    assert shown(lambda display: display.warning("a [red]name[/red]")) == "WARNING: a [red]name[/red]\n"


def test_parts_of_epochs_count_without_a_panel_too(study: RunStudy) -> None:
    progress = Progress(3, 9, 20.0, rung_epochs=(1, 3))

    def play(display: Display) -> None:
        display.start_trials(progress)
        display.step(2, StepCount(1, 3, 4))
        display.report(0, metrics(1, 0.25))
        display.end(study.trial(1))

    shown(play)
    assert progress.underway == {0: 1.0, 2: 0.75}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr("search.display.display.REFRESH_INTERVAL_S", 0.0)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_line_says_how_each_trial_ended(study: RunStudy) -> None:
    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9, 20.0, rung_epochs=(1, 3)))
        display.report(0, metrics(1, 0.25))
        display.end(study.trial(0))
        display.end(study.trial(1))
        display.end_trials()

    first, second = shown(play).splitlines()
    assert first.startswith(
        "[1/3 started, 0 running, 0 paused, 1 finished; 1 of about 20 epochs] trial 0 stopped at rung 1"
    )
    assert "(epoch 1), validation accuracy 25.00 %, worse than the cutoff 50.00 %" in first
    assert second.startswith(
        "[2/3 started, 0 running, 0 paused, 2 finished; 1 of about 20 epochs] trial 1 failed after"
    )
    assert "ValueError: no such layer" in second


def test_a_paused_trial_counts_and_says_its_rung(study: RunStudy) -> None:
    for epoch, score in ((1, 0.5), (2, 0.4), (3, 0.6)):
        study.record_epoch(2, epoch=epoch, score=score, metrics={})

    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9, 20.0, rung_epochs=(1, 3)))
        display.report(2, metrics(3, 0.6))
        display.end(study.trial(2))
        display.end_trials()

    line = shown(play)
    assert line.startswith(
        "[1/3 started, 0 running, 1 paused, 0 finished; 3 of about 20 epochs] trial 2 paused at rung 2"
    )
    assert "(epoch 3), validation accuracy 60.00 %, about " in line


def test_the_panel_shows_trials_best_pace_and_time_left(study: RunStudy, terminal: Terminal) -> None:
    display = Display(terminal)
    display.start_trials(Progress(3, 9, 20.0, rung_epochs=(1, 3)))
    display.report(0, metrics(1, 0.25))
    display.end(study.trial(0))
    display.report(2, metrics(4, 0.75))
    display.end_trials()
    text = terminal.getvalue()
    assert "2/3 started, 1 running, 0 paused, 1 finished; 5 of about 20 epochs (1 stopped)" in text
    assert "best validation accuracy 75.00 % (trial 2, epoch 4)" in text
    assert "4/9" in text
    assert "1,234 images/s" in text
    assert "Ctrl-C stops and keeps everything" in text
    assert "\x1b[?25h" in text, "the cursor must be back"


def test_the_panel_shows_a_trial_in_its_first_epoch(terminal: Terminal) -> None:
    display = Display(terminal)
    display.start_trials(Progress(3, 9, 20.0))
    display.step(5, StepCount(1, 45, 100))
    display.tick()
    display.end_trials()
    assert "0/9         45 %" in terminal.getvalue()
    assert "0 images/s" not in terminal.getvalue()


def test_ctrl_c_is_explained_once() -> None:
    def play(display: Display) -> None:
        display.stopping()
        display.stopping()

    (line,) = shown(play).splitlines()
    assert line.startswith("stopping: ")
    assert "Press Ctrl-C again to end at once" in line


def test_retrainings_are_shown_as_trials_are(terminal: Terminal) -> None:
    display = Display(terminal)
    display.start_trials(Progress(3, 9, 27.0, stage="retraining", num_workers=2))
    trained = {**metrics(9, 0.5), "val_score": None}
    display.report("retrain:winner:0", {**trained, "epoch": 4})
    display.report("finalist:7:1", metrics(9, 0.75))
    display.end_retraining(finalist_record(7, 1, 0.75))
    display.end_trials()
    text = terminal.getvalue()
    assert "winner, seed 1" in text
    assert "4/9" in text
    assert "best validation accuracy 75.00 % (finalist trial 7, seed 2, epoch 9)" in text
    assert (
        "[2/3 started, 1 running, 0 paused, 1 finished; 13 of about 27 epochs] finalist trial 7, seed 2 trained" in text
    )
    assert "of retraining left" in text


def test_a_log_says_now_and_then_where_the_trials_stand(study: RunStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = {"now": 0.0}, io.StringIO()
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    display = Display(stream)
    display.start_trials(Progress(3, 9, 20.0, rung_epochs=(1, 3)))

    def tick(*moments: float) -> None:
        for clock["now"] in moments:
            display.tick()

    tick(0.0, 100.0, 170.0)
    assert stream.getvalue() == ""
    display.report(2, metrics(1, 0.75))
    clock["now"] = 180.0
    display.end(study.trial(0))
    tick(190.0, 300.0, 359.0)
    (end,) = stream.getvalue().splitlines()
    assert "trial 0 stopped" in end
    tick(360.0, 370.0, 400.0)
    _, line = stream.getvalue().splitlines()
    assert "2/3 started, 1 running, 0 paused, 1 finished" in line
    assert "75.00 % (trial 2, epoch 1)" in line


def test_what_people_asked_for_stands_above_the_trials(terminal: Terminal) -> None:
    display = Display(terminal)
    display.start_trials(Progress(3, 9, 20.0))
    display.steer("paused by anna, 1 of 2 slots", num_workers=0)
    shown_lines = terminal.getvalue().splitlines()
    assert any("paused by anna, 1 of 2 slots" in line for line in shown_lines)
    display.steer(None, num_workers=2)
    assert "paused by" not in terminal.getvalue().rpartition("0/3 started")[0].rpartition("0/3 started")[2]
