"""One run from settings to report: prepare, search, retrain, write. Resuming a run takes the same way."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search.analysis.results import Run
from search.analysis.summary import write_results
from search.analysis.verdict import ConfigResult
from search.display.display import Display
from search.errors import RunFailed, RunInterrupted, UserError
from search.forecast.forecast import Forecast, make_forecast
from search.forecast.wording import brief_line, plan_lines, verdict
from search.forecast.workload import workload_of
from search.live_control import LiveControl
from search.machine.gpus import limited_to_visible_gpus
from search.machine.machine_cache import reuse_line
from search.machine.signals import StopRequest
from search.notify import Notifier, notifying
from search.report.page import LivePage
from search.report.plots import PlottedRun, load_run
from search.retrain.stage import evaluate_retrained
from search.settings import SearchSettings
from search.setup.cluster import cluster_of
from search.setup.compatibility import check_compatibility, note_compatibility
from search.setup.control import control, drop_old_wishes
from search.setup.disk_errors import disk_errors
from search.setup.document import read_document
from search.setup.extras import notify_problems
from search.setup.images import check_images_are_there
from search.setup.open_record import open_waiting
from search.setup.own_network import network_of_run
from search.setup.preflight import new_run_problems, resume_problems
from search.setup.preparation import Preparation
from search.setup.prepare import prepare
from search.setup.run_folder import RunFolder, read_machine, read_settings
from search.setup.survey_text import ReadImages, read_and_say
from search.study.record import num_started
from search.study.study import RunStudy
from search.study.wishes import Wish, wishes_of
from search.text import score_text
from search.trial_stage import train_all
from search.watchers import Watchers

_PACKING_SHARE = 0.8
"""Share of the time for a plan after which the slots are not measured any longer."""


def run_search(
    settings: SearchSettings, *, display: Display | None = None, read: ReadImages | None = None
) -> PlottedRun:
    """The whole job: searches, retrains the best config, tests it, and leaves everything in `settings.run_dir`.

    `read`: the images of these settings, if they were checked, read and told of before.
    UserError before any work begins if the settings ask for something impossible; RunInterrupted after a signal and
    RunFailed if the disk, the database or Ray fails. Everything recorded so far is kept.
    """
    shown = display or Display()
    started = time.monotonic()
    _refuse(new_run_problems(settings) if read is None else [])
    folder = RunFolder(settings.run_dir)
    with (
        StopRequest().installed() as stop,
        folder.created(),
        disk_errors(settings),
        cluster_of(settings, settings.run_dir / "ray.log") as cluster,
    ):
        study = open_waiting(settings, shown, stop)
        if study.num_trials:
            raise UserError(f"--storage already holds a run named {settings.run_name}. Give another --name.")
        preparation = _prepared(settings, shown, read=read, cluster=cluster)
        note_compatibility(study, preparation.settings, preparation.data_record, preparation.space)
        folder.write_new(preparation.document(), preparation.space, preparation.network)
        with ignore_forecast_errors(shown):
            forecast = make_forecast(workload_of(preparation, started=started))
            folder.write_forecast(forecast.table())
            shown.message(brief_line(forecast))
        return _run(preparation, study, shown, stop, started=started, is_new=True)


def plan_search(
    settings: SearchSettings, *, deadline: float, display: Display | None = None, read: ReadImages | None = None
) -> Forecast:
    """Prints the cost of `run_search` on this machine; trains a few steps only and leaves nothing behind.

    Skips measurements that would not end before `deadline`, by time.monotonic(). `read` as in `run_search`.
    """
    shown, started = display or Display(), time.monotonic()
    _refuse(new_run_problems(settings) if read is None else [])
    with cluster_of(settings, Path(os.devnull)) as cluster:
        deadline = started + _PACKING_SHARE * (deadline - started)
        preparation = _prepared(settings, shown, read=read, cluster=cluster, deadline=deadline)
    try:
        forecast = make_forecast(workload_of(preparation, started=started))
    except (RuntimeError, ValueError) as error:
        raise RunFailed(f"no forecast: {error}") from None
    for line in plan_lines(forecast):
        shown.message(line)
    return forecast


def resume_search(
    run_dir: Path,
    *,
    num_trials: int | None = None,
    dataset: str | None = None,
    notify: str | None = None,
    network: str | None = None,
    cluster: str | None = None,
    trust_folder: bool = False,
    display: Display | None = None,
) -> PlottedRun:
    """Continues a run that was cut off. `num_trials` extends it, or ends it with fewer trials than planned.

    `dataset`: where its images are now; refused if they are not the same. `network`: an own network's place, which has
    to be named again. `notify`: as --notify. `cluster`: where it goes on; "local" for this machine. `trust_folder`:
    whether to go on although other users could have changed the folder.
    """
    shown, run_dir, started = display or Display(), run_dir.expanduser(), time.monotonic()
    _refuse(resume_problems(run_dir, trust_folder=trust_folder, cluster=cluster))
    given = {"num_trials": num_trials, "dataset": dataset, "network": network, "notify": notify, "cluster": cluster}
    source = network_of_run(run_dir, read_document(run_dir), network)
    settings = read_settings(run_dir).changed(**{name: value for name, value in given.items() if value is not None})
    _refuse(notify_problems(settings))
    with (
        StopRequest().installed() as stop,
        RunFolder(run_dir).locked(),
        disk_errors(settings),
        cluster_of(settings, run_dir / "ray.log") as joined,
    ):
        study = open_waiting(settings, shown, stop, create=False)
        drop_old_wishes(study, read_settings(run_dir))
        _check_is_possible(settings, study, is_dataset_given=dataset is not None)
        settings = settings if joined else limited_to_visible_gpus(settings, shown.warning)
        kept = read_machine(run_dir, settings)
        preparation = _prepared(settings, shown, kept=kept, network=source, cluster=joined)
        check_compatibility(study, preparation.settings, preparation.data_record, preparation.space)
        RunFolder(run_dir).write_settings(preparation.settings, preparation.data_record)
        if num_trials is not None:
            control(run_dir, Wish(num_trials=num_trials))
        return _run(preparation, study, shown, stop, started=started, is_new=False)


def _check_is_possible(settings: SearchSettings, study: RunStudy, *, is_dataset_given: bool) -> None:
    """UserError if a resumed run has more trials already than it shall have, or if its images are gone."""
    started = num_started(study.trials())
    if settings.num_trials < started:
        raise UserError(f"--trials {settings.num_trials}: this run has {started} already. Give that many or more.")
    check_images_are_there(settings, was_given=is_dataset_given)


def _prepared(
    settings: SearchSettings, display: Display, *, read: ReadImages | None = None, **given: Any
) -> Preparation:
    """As `prepare`, `given` its other arguments; says what the images are, and then what should be known."""
    read = read or read_and_say(settings, display.message)
    preparation = prepare(settings, read=read, say=display.message, **given)
    show_warnings(preparation, display)
    return preparation


def show_warnings(preparation: Preparation, display: Display) -> None:
    """Everything that should be known before trusting the run, and what it adapted to its images."""
    for warning in preparation.warnings:
        display.warning(warning)
    for note in preparation.notes:
        display.message(note)
    if (reused := reuse_line(preparation.measurements)) is not None:
        display.message(reused)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UserError("\n".join(problems))


def _run(
    preparation: Preparation, study: RunStudy, display: Display, stop: StopRequest, *, started: float, is_new: bool
) -> PlottedRun:
    """`started`: when this call began, by time.monotonic(). The time budget of any run and the forecast of a new one
    count from there."""
    settings = preparation.settings
    page = LivePage(settings.run_dir, display.warning, preparation.network)
    live = LiveControl.of(preparation, study, display, page, stop, started=started)
    num_val = len(preparation.images.val_indices)
    with notifying(settings, display.warning) as notifier, _keep_results(settings.run_dir, page, display):
        for record in study.trials():
            notifier.remember(record, num_val)
        retrainings = train_all(preparation, study, Watchers(display, page, stop, live, notifier, num_val))
        evaluate_retrained(preparation, retrainings, study, display)
        live.close()
        if is_new and not wishes_of(study.notes()):  # the forecast is of the run as it was planned
            with ignore_forecast_errors(display):
                judge_forecast(load_run(settings.run_dir), time.monotonic() - started, display)
        if (winner := load_run(settings.run_dir).result.winner) is not None:
            tell_end(notifier, winner)
    while live.close():  # asked while the results were written
        page.finish()
    return load_run(settings.run_dir, preparation.network)


def tell_end(notifier: Notifier, winner: ConfigResult) -> None:
    """Sends word of the test in the run's metric, with the accuracy beside it. Only the accuracy has an interval."""
    score = score_text(winner.metric, winner.test.mean, winner.accuracy)
    interval = winner.images_interval or (winner.test.low, winner.test.high)
    has_interval = winner.metric.name == "accuracy" and None not in interval
    notifier.tell("ended", f"test {winner.metric.title} {score}", winner.accuracy, interval if has_interval else None)


@contextlib.contextmanager
def ignore_forecast_errors(display: Display) -> Iterator[None]:
    """A forecast that fails must not cost the run."""
    try:
        yield
    except Exception as error:
        display.message(f"no forecast: {(str(error) or type(error).__name__).splitlines()[0]}")


def judge_forecast(run: Run, wall_s: float, display: Display) -> None:
    """Prints and records how far the forecast was off; does nothing if there was none."""
    if run.document.forecast is not None:
        epochs = sum(record.epochs_spent for record in run.records)
        table = {**run.document.forecast, "actual_wall_s": wall_s, "actual_epochs": epochs}
        RunFolder(run.run_dir).write_forecast(table)
        display.message(verdict(table) or "")


@contextlib.contextmanager
def _keep_results(run_dir: Path, page: LivePage, display: Display) -> Iterator[None]:
    """Writes tables, summary and page however the run ends. An error in that does not hide an earlier one."""
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
