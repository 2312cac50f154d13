"""What a person sees: plain lines where the output is no terminal, one live panel where it is."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from search.display import Display
from search.progress import Progress
from search.study import NewTrial, RungDecision, RunStudy, TrialStatus


def metrics(epoch: int, accuracy: float) -> dict[str, object]:
    return {"epoch": epoch, "val_accuracy": accuracy, "images_per_s": 1234.0}


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
    monkeypatch.setattr("search.display.REFRESH_INTERVAL_S", 0.0)
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
    progress = Progress(4, 9, started=0.0)
    assert progress.seconds_left(now=10.0) is None
    progress.report(0, metrics(1, 0.25))
    progress.end(study.trial(0))
    progress.report(2, metrics(3, 0.3))
    # 2 epochs took 10 s; 2 trials wait for 1 epoch each, and one has outlived that and has 6 to go.
    assert progress.seconds_left(now=10.0) == pytest.approx(5 * (2 * 1 + 6))
