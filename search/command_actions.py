"""What the commands on folders of images and on runs do: print the answer, and return the process's exit code."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from search.errors import UserError
from search.paths import from_here
from search.settings import SearchSettings
from search.setup.extras import missing_extra
from search.setup.run_lock import is_locked
from search.setup.settings_file import write_settings_file
from search.study.wishes import Wish

CONTROL_PATIENCE_S = 5.0
"""How long `control` waits for the run's answer."""
# All other imports are late: torch and pandas take seconds, and bad options must be refused at once.


def _init(options: argparse.Namespace) -> int:
    write_settings_file(options.out, options.dataset)
    print(f"wrote {options.out}. Edit it, then: {command('--config', options.out)}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    settings = SearchSettings(run_name="inspect", **vars(options))
    from search.setup.survey_text import class_lines, read_images, survey_lines, survey_warnings

    data, survey = read_images(settings)
    for line in (*survey_lines(data.name, survey), *class_lines(survey)):
        print(line)
    for warning in (*data.warnings, *survey_warnings(survey)):
        print(f"WARNING: {warning}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from search.analysis.inference import answers_frame, write_answers
    from search.analysis.results import Run

    run = Run.load(options.run_dir, options.network)
    answers, unreadable = run.predict_readable(options.images)
    table = answers_frame(answers, run.class_names)
    if options.csv is None:
        for row in table.itertuples():
            print(f"{row[1]}: {row[2]} {100 * row[3]:.2f} %")
    else:
        write_answers(options.csv, table)
        print(f"wrote the answers to {len(table):,} images to {options.csv}")
    for line in unreadable:
        print(f"tune_main.py: error: {line}", file=sys.stderr)
    return 1 if unreadable else 0


def _export(options: argparse.Namespace) -> int:
    from search.analysis.export import export_network
    from search.analysis.model_card import write_card
    from search.analysis.results import Run

    run = Run.load(options.run_dir, options.network)
    export = export_network(run, options.format, path=options.out, images=options.images)
    print(
        f"{export.path} agrees with the original on {export.num_images} real images: "
        f"no probability differs by more than {export.max_difference:.1g}"
    )
    try:
        print(f"{write_card(run, export.path)} describes it; the licence is yours to write there")
    except UserError as error:  # the export needs less of the run
        print(f"WARNING: no model card: {error}", file=sys.stderr)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from rich.console import Console

    from search.analysis.compare import compare_runs, comparison_lines
    from search.analysis.results import Run
    from search.report.comparison_page import write_comparison

    comparison = compare_runs(Run.load(options.run_a), Run.load(options.run_b))
    console = Console(highlight=False, soft_wrap=True)
    for line in comparison_lines(comparison):
        console.print(line)
    if options.page is not None:
        write_comparison(comparison, options.page)
        print(f"wrote {options.page}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from search.analysis.run_list import list_lines, list_runs

    for line in list_lines(list_runs(options.results_dir), now=datetime.now(UTC)):
        print(line)
    return 0


def _serve(options: argparse.Namespace) -> int:
    if problem := missing_extra("serve", "service"):
        raise UserError(problem)
    from search.service.serve import serve

    return serve(options, partial(print, flush=True))


def _control(options: argparse.Namespace) -> int:
    values = vars(options)
    run_dir, actions = values.pop("run_dir"), values.pop("actions") or [None]
    if len(set(actions)) > 1:
        raise UserError(f"{' and '.join(f'--{action}' for action in actions)} contradict each other. Give one of them.")
    wish = Wish(action=actions[0], **values)
    from search.setup.control import await_answer, control

    asked, shown = control(run_dir, wish), from_here(run_dir)
    if not is_locked(run_dir):
        print(f"{shown} is not running. It will do this when it is resumed: {command('--resume', shown)}")
        return 0
    answer = await_answer(run_dir, asked, CONTROL_PATIENCE_S)
    if answer is None:
        print(f"asked for {wish.words}. {shown} prepares or tests now and will answer after that")
    elif not answer.is_done:
        raise UserError(f"{shown} cannot do this: {answer.text}.")
    else:
        print(f"{shown}: {wish.words}, taken up")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": _init,
    "inspect": _inspect,
    "predict": _predict,
    "export": _export,
    "list": _list,
    "compare": _compare,
    "serve": _serve,
    "control": _control,
}
"""By the command's name; see `search.commands.COMMANDS`."""


def command(option: str, path: Path, *others: str) -> str:
    """A command line of the program, as people type it."""
    return shlex.join(["python", "tune_main.py", option, str(path), *others])
