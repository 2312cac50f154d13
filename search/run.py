"""One run from settings to report: prepare, search, select, retrain, write. Resuming takes the same way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from search.analysis.results import Run, load_run
from search.analysis.summary import write_results
from search.display.display import Display
from search.errors import RunFailed, RunInterrupted, UserError
from search.forecast.forecast import Forecast
from search.forecast.planner import PACKED_AT, forecast_of_run, forecast_until, moment, plan_text
from search.forecast.wording import brief_line, verdict
from search.machine.signals import StopRequest
from search.report.page import LivePage
from search.retrain.stage import retrain_and_test
from search.settings import SearchSettings
from search.setup.compatibility import check_compatibility, note_compatibility
from search.setup.disk_errors import disk_errors
from search.setup.preflight import new_run_problems, resume_problems
from search.setup.prepare import Preparation, prepare
from search.setup.run_folder import RunFolder, read_machine, read_settings
from search.study.record import TrialStatus
from search.study.study import RunStudy, open_study
from search.trial_stage import Watchers, search_trials

if TYPE_CHECKING:
    pass


def run_search(settings: SearchSettings, *, display: Display | None = None) -> Run:
    """The whole job: searches, retrains the best config, tests it, and leaves everything in `settings.run_dir`.

    UserError before any work begins if something that was asked for cannot be done; RunInterrupted after a signal and
    RunFailed if the disk, the database or Ray fails, with everything so far kept.
    """
    shown = display or Display()
    started = time.monotonic()
    _refuse(new_run_problems(settings))
    folder = RunFolder(settings.run_dir)
    with StopRequest().installed() as stop, folder.created(), disk_errors(settings):
        study = open_study(settings)
        if study.num_trials:
            raise UserError(f"--storage already holds a run named {settings.run_name}. Give another --name.")
        preparation = prepare(settings)
        note_compatibility(study, preparation.settings, preparation.data_record, preparation.space)
        folder.write_new(preparation.document(), preparation.space)
        with no_run_lost(shown):
            forecast = forecast_of_run(preparation, started=started)
            folder.write_forecast(forecast.table())
            shown.message(brief_line(forecast))
        return _run(preparation, study, shown, stop, started=started)


def plan_search(settings: SearchSettings, *, deadline: float, display: Display | None = None) -> Forecast:
    """Says what `run_search` would take on this machine; trains a few steps only and leaves nothing behind.

    Does without what is not measured in time; `deadline` is by time.monotonic().
    """
    shown, started = display or Display(), time.monotonic()
    _refuse(new_run_problems(settings))
    preparation = prepare(settings, deadline=moment(started, deadline, PACKED_AT))
    for warning in preparation.warnings:
        shown.warning(warning)
    try:
        forecast = forecast_until(preparation, started=started, deadline=deadline)
    except (TimeoutError, RuntimeError, ValueError) as error:
        raise RunFailed(f"no forecast: {error}") from None
    for line in plan_text(forecast, preparation):
        shown.message(line)
    return forecast


def resume_search(run_dir: Path, *, num_trials: int | None = None, display: Display | None = None) -> Run:
    """Goes on with a run where it was cut off; `num_trials` extends it, or ends it with fewer trials than planned."""
    shown = display or Display()
    _refuse(resume_problems(run_dir))
    settings = read_settings(run_dir)
    if num_trials is not None:
        settings = settings.changed(num_trials=num_trials)
    folder = RunFolder(run_dir)
    with StopRequest().installed() as stop, folder.locked(), disk_errors(settings):
        study = open_study(settings)
        num_started = sum(record.status is not TrialStatus.REJECTED for record in study.trials())
        if settings.num_trials < num_started:
            raise UserError(f"--trials {num_trials}: this run has {num_started} already. Give that many or more.")
        preparation = prepare(settings, kept=read_machine(run_dir))
        check_compatibility(study, preparation.settings, preparation.data_record, preparation.space)
        folder.write_settings(preparation.settings)
        return _run(preparation, study, shown, stop)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _run(
    preparation: Preparation, study: RunStudy, display: Display, stop: StopRequest, *, started: float | None = None
) -> Run:
    """`started`: by time.monotonic(), when a new run began; its forecast is judged by it."""
    settings = preparation.settings
    for warning in preparation.warnings:
        display.warning(warning)
    page = LivePage(settings.run_dir, display.warning)
    with _search_results_kept(settings.run_dir, page, display):
        search_trials(preparation, study, Watchers(display, page, stop))
        page.update()
        retrain_and_test(preparation, study, display, page.update)
        if started is not None:
            with no_run_lost(display):
                judge_forecast(load_run(settings.run_dir), time.monotonic() - started, display)
    return load_run(settings.run_dir)


@contextlib.contextmanager
def no_run_lost(display: Display) -> Iterator[None]:
    """Whatever goes wrong with a forecast, the run goes on."""
    try:
        yield
    except Exception as error:
        display.message(f"no forecast: {(str(error) or type(error).__name__).splitlines()[0]}")


def judge_forecast(run: Run, wall_s: float, display: Display) -> None:
    """Says and keeps how far the forecast was off; nothing if there was none."""
    if run.document.forecast is not None:
        epochs = sum(record.epochs_trained for record in run.records)
        table = {**run.document.forecast, "actual_wall_s": wall_s, "actual_epochs": epochs}
        RunFolder(run.run_dir).write_forecast(table)
        display.message(verdict(table) or "")


@contextlib.contextmanager
def _search_results_kept(run_dir: Path, page: LivePage, display: Display) -> Iterator[None]:
    """However the run ends, its tables, summary and page are written; failing at that hides no earlier failure."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, RunInterrupted):
            display.stopping()
        with contextlib.suppress(Exception):
            write_results(load_run(run_dir))
            page.finish()
        raise
    write_results(load_run(run_dir))
    page.finish()
