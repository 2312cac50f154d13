"""What a person sees: plain lines where the output is no terminal, one live panel where it is."""

import dataclasses
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from search.display.display import Display
from search.display.progress import Forecasts, Progress
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy
from search.worker.step_counts import StepCount, StepCounts


def metrics(epoch: int, accuracy: float) -> dict[str, object]:
    return {"epoch": epoch, "val_accuracy": accuracy, "images_per_s": 1234.0, "seconds": 5.0}


@pytest.fixture
def study() -> RunStudy:
    """Trial 0 stopped at a rung, trial 1 failed, trial 2 running."""
    study = RunStudy.in_memory()
    for _ in range(3):
        study.add_trial(NewTrial(config={}, seed=0))
    study.record_epoch(0, epoch=1, val_accuracy=0.25, metrics={})
    study.record_rung(0, RungDecision(epoch=1, score=0.25, cutoff=0.5, num_scores=3, is_stopped=True))
    study.finish(0, TrialStatus.STOPPED)
    study.finish(1, TrialStatus.FAILED, error="ValueError: no such layer")
    return study


def shown(play: Callable[[Display], None]) -> str:
    stream = io.StringIO()
    play(Display(stream))
    return stream.getvalue()


def test_lines_say_how_each_trial_ended_and_nothing_about_epochs(study: RunStudy) -> None:
    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9))
        display.report(0, metrics(1, 0.25))
        display.end(study.trial(0))
        display.end(study.trial(1))
        display.end_trials()

    lines = shown(play).splitlines()
    assert lines[0].startswith(
        "[1/3] trial 0 stopped after 1 epochs, validation accuracy 25.00 % below the cutoff 50.00 %"
    )
    assert lines[1].startswith("[2/3] trial 1 failed after 0 epochs: ValueError: no such layer")
    assert len(lines) == 2


def test_a_stop_among_equals_is_not_said_to_be_below_the_cutoff(study: RunStudy) -> None:
    study.record_epoch(2, epoch=1, val_accuracy=0.5, metrics={})
    study.record_rung(2, RungDecision(epoch=1, score=0.5, cutoff=0.5, num_scores=3, is_stopped=True))
    study.finish(2, TrialStatus.STOPPED)

    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9))
        display.end(study.trial(2))

    assert "validation accuracy 50.00 % at the cutoff 50.00 %" in shown(play)


def test_a_trial_that_waits_at_a_rung_has_not_ended(study: RunStudy) -> None:
    study.record_epoch(2, epoch=1, val_accuracy=0.5, metrics={})

    def play(display: Display) -> None:
        display.start_trials(Progress(3, 9))
        display.report(2, metrics(1, 0.5))
        display.end(study.trial(2))
        display.end_trials()

    assert shown(play).startswith("[0/3] trial 2 waits after 1 epochs, validation accuracy 50.00 %, about ")


def test_a_trial_that_a_stopping_run_cut_short_has_not_ended(study: RunStudy) -> None:
    progress = Progress(3, 9)
    progress.report(2, metrics(1, 0.3))
    progress.end(study.trial(2))
    assert progress.num_ended == 0
    assert not progress.running


def test_warnings_are_loud_and_text_is_not_taken_for_markup() -> None:
    assert shown(lambda display: display.warning("a [red]name[/red]")) == "WARNING: a [red]name[/red]\n"


def test_the_panel_tells_trials_best_pace_and_time_left(study: RunStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    display = Display(stream)
    display._console = Console(file=stream, force_terminal=True, width=200)
    monkeypatch.setattr("search.display.display.REFRESH_INTERVAL_S", 0.0)
    display.start_trials(Progress(3, 9))
    display.report(0, metrics(1, 0.25))
    display.end(study.trial(0))
    display.report(2, metrics(4, 0.75))
    display.end_trials()
    text = stream.getvalue()
    assert "1/3 trials (1 stopped)" in text
    assert "best validation accuracy 75.00 % (trial 2, epoch 4)" in text
    assert "4/9" in text
    assert "1,234 images/s" in text
    assert "Ctrl-C stops and keeps everything" in text
    assert display._live is None, "the panel must give the terminal back"


def test_the_best_of_a_resumed_run_counts_from_before(study: RunStudy) -> None:
    progress = Progress(3, 9)
    progress.end(study.trial(0))
    assert progress.best == (0.25, 0, 1)


def test_time_left_counts_what_waits_and_what_runs(study: RunStudy) -> None:
    progress = Progress(4, 9, rung_epochs=(1, 3), reduction_factor=3)
    assert progress.seconds_left(now=10.0) is None
    progress.report(0, metrics(1, 0.25), now=10.0)  # began at 5.0
    progress.end(study.trial(0))
    progress.report(2, metrics(2, 0.3), now=15.0)
    # 2 epochs took 10 s. Trial 0 was stopped at a rung, trial 2 went past one: with three decisions that count as seen
    # before, of which one passed, 2 of 5 pass. Trial 2 has 1 epoch to its rung at 3 and then 6 more with that chance.
    of_trial_2 = 1 + 0.4 * 6
    # Trials 3 and 4 wait: 1 epoch, 2 more with one chance, 6 more with both.
    waiting = 1 + 0.4 * 2 + 0.4**2 * 6
    assert progress.seconds_left(now=15.0) == pytest.approx(5 * (2 * waiting + of_trial_2))


def test_time_left_counts_the_finalists_that_a_search_by_promotion_lacks(study: RunStudy) -> None:
    progress = Progress(4, 9, rung_epochs=(1, 3), reduction_factor=2, num_finalists=2)
    progress.report(0, metrics(1, 0.25), now=10.0)  # began at 5.0
    progress.end(dataclasses.replace(study.trial(0), status=TrialStatus.RUNNING))
    # One of two finalists is trial 0, which waits after its first epoch; the other will be one of the trials to come.
    # Trial 0 was held at a rung, so that of three decisions one passed, with the two that count as seen before.
    to_come = 1 + 1 / 3 * 2 + 1 / 9 * 6
    assert progress.seconds_left(now=10.0) == pytest.approx(5 * (3 * to_come + (9 - 1) + (9 - to_come)))
    progress.num_trials = 1
    assert progress.seconds_left(now=10.0) == pytest.approx(5 * 8)
    progress.report(0, metrics(4, 0.3), now=25.0)
    assert progress.seconds_left(now=25.0) == pytest.approx(10 * 5)  # past its last rung, at 10 s an epoch


def test_time_left_is_shared_by_the_workers_but_no_trial_is_faster_than_itself() -> None:
    progress = Progress(2, 9, num_workers=2)
    progress.report(0, metrics(1, 0.3), now=5.0)
    assert progress.seconds_left(now=5.0) is None, "how far the other worker's first epoch is tells nothing yet"
    progress.report(1, metrics(1, 0.3), now=5.0)
    assert progress.seconds_left(now=5.0) == pytest.approx(5 * 8)  # 16 epochs by two workers, 5 s each
    progress.num_trials = 1
    progress.running.pop(0)
    assert progress.seconds_left(now=5.0) == pytest.approx(5 * 8)  # 8 epochs that only one worker can train


def test_time_left_is_never_more_than_the_budget() -> None:
    progress = Progress(100, 9, deadline=30.0)
    progress.report(0, metrics(1, 0.3), now=5.0)
    assert progress.seconds_left(now=10.0) == 20.0
    assert progress.seconds_left(now=40.0) == 0.0


def test_steps_make_parts_of_epochs_and_ended_trials_have_none(study: RunStudy) -> None:
    progress = Progress(3, 9)
    progress.steps = {0: StepCount(2, 1, 4), 2: StepCount(1, 3, 4)}
    progress.report(0, metrics(1, 0.25))
    assert progress.underway == {0: 1.25, 2: 0.75}
    progress.end(study.trial(0))
    assert progress.underway == {2: 0.75}
    progress.report(2, metrics(1, 0.3))  # the report is newer than the count
    assert progress.underway == {2: 1.0}


def test_parts_of_epochs_count_without_a_panel_too(study: RunStudy, tmp_path: Path) -> None:
    progress = Progress(3, 9)
    steps = StepCounts(tmp_path / "steps")

    def play(display: Display) -> None:
        display.start_trials(progress)
        display.watch(steps)
        steps.writer(2)(1, 3, 4)
        display.report(0, metrics(1, 0.25))

    shown(play)
    assert progress.underway == {0: 1.0, 2: 0.75}


def test_forecasts_are_held_against_what_came() -> None:
    forecasts = Forecasts()
    for now, left in ((10.0, 150.0), (40.0, 70.0), (60.0, 30.0), (90.0, 10.0)):
        forecasts.note(left, now=now)
    forecasts.note(None, now=95.0)
    # From 0 to 100 s: first 160 s were foreseen, at half time 110 s.
    assert forecasts.review(0.0, now=100.0) == (
        "the search took 1 min 40 s; 1 min 00 s shorter than foreseen by the first forecast, "
        "10 s shorter than foreseen by the one at half time"
    )
    assert Forecasts().review(0.0, now=100.0) is None
    late = Forecasts()
    late.note(0.0, now=90.0)
    assert late.review(0.0, now=100.0) == (
        "the search took 1 min 40 s; 10 s longer than foreseen by the first forecast"
    )


def test_a_whole_search_reviews_its_forecasts(study: RunStudy) -> None:
    def play(display: Display) -> None:
        display.start_trials(Progress(1, 9))
        display.report(0, metrics(1, 0.25))
        display.end(study.trial(0))
        display.review()
        display.end_trials()

    assert "than foreseen by the first forecast" in shown(play).splitlines()[-1]


def test_what_happens_on_ctrl_c_is_told_once() -> None:
    def play(display: Display) -> None:
        display.stopping()
        display.stopping()

    (line,) = shown(play).splitlines()
    assert line.startswith("stopping: the trials are ended, then tables and page are written.")
    assert "Ctrl-C again ends at once" in line


def test_steps_written_by_another_process_are_read(tmp_path: Path) -> None:
    counts = StepCounts(tmp_path / "steps")
    assert counts.read() == {}
    write = "from search.worker.step_counts import StepCounts; from pathlib import Path; import os, sys;" + (
        "StepCounts(Path(sys.argv[1])).writer(7)(2, 30, 120); os._exit(9)"  # as if killed
    )
    assert subprocess.run([sys.executable, "-c", write, str(tmp_path / "steps")], check=False).returncode == 9
    assert counts.read() == {7: StepCount(2, 30, 120)}
    assert counts.read()[7].fraction == 0.25
    counts.writer(7)  # started again
    assert counts.read() == {7: StepCount(0, 0, 0)}
    assert counts.read()[7].fraction == 0.0


def test_the_panel_shows_a_trial_in_its_first_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    display = Display(stream)
    display._console = Console(file=stream, force_terminal=True, width=200)
    monkeypatch.setattr("search.display.display.REFRESH_INTERVAL_S", 0.0)
    steps = StepCounts(tmp_path / "steps")
    steps.writer(5)(1, 45, 100)
    display.start_trials(Progress(3, 9))
    display.watch(steps)
    display.tick()
    display.end_trials()
    assert "0/9         45 %" in stream.getvalue()


def test_steps_that_cannot_be_stored_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text("a file where the folder should be")
    StepCounts(tmp_path / "steps").writer(1)(1, 2, 3)
