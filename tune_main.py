"""The command line: arguments -> SearchSettings -> search.run_search -> the summary on the screen.

python tune_main.py --gpus 1
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.command_line import build_parser, command_parser
from search.errors import RunFailed, RunInterrupted, UserError
from search.machine.signals import StopRequest
from search.machine.time_limit import OutOfTime, time_limit
from search.settings import OPTIONS, SearchSettings
from search.setup.preflight import new_run_problems, resume_problems

if TYPE_CHECKING:
    from search.analysis.results import Run


PLAN_LIMIT_S = 60.0
"""The most that --plan may take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the process's exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words and not words[0].startswith("-"):
            return _run_command(words[0], words[1:])
        return _run(build_parser().parse(words))
    except ValueError as error:
        if not _is_user_error(error):
            raise
        for line in str(error).splitlines():
            print(f"tune_main.py: error: {line}", file=sys.stderr)
        return 2


def _run_command(name: str, words: list[str]) -> int:
    """Runs one of the commands on finished runs."""
    options = command_parser(name).parse(words)
    _COMMANDS[name](options)
    return 0


def _predict(options: argparse.Namespace) -> None:
    from search.analysis.results import load_run

    run = load_run(options.run_dir)
    for path, probabilities in zip(options.images, run.predict(options.images), strict=True):
        best = int(probabilities.argmax())
        print(f"{path}: {run.class_names[best]} {100 * probabilities[best]:.2f} %")


def _export(options: argparse.Namespace) -> None:
    from search.analysis.export import export_network
    from search.analysis.results import load_run

    export = export_network(load_run(options.run_dir), options.format, path=options.out, images=options.images)
    print(
        f"{export.path} agrees with the original on {export.num_images} real images: "
        f"no probability differs by more than {export.max_difference:.1g}"
    )


def _compare(options: argparse.Namespace) -> None:
    from rich.console import Console

    from search.analysis.compare import compare_runs, comparison_lines
    from search.analysis.results import load_run
    from search.report.comparison_page import write_comparison

    comparison = compare_runs(load_run(options.run_a), load_run(options.run_b))
    console = Console(highlight=False, soft_wrap=True)
    for line in comparison_lines(comparison):
        console.print(line)
    if options.page is not None:
        write_comparison(comparison, options.page)
        print(f"wrote {options.page}")


_COMMANDS = {"predict": _predict, "export": _export, "compare": _compare}


def _run(options: argparse.Namespace) -> int:
    given = vars(options)
    is_plan = given.pop("plan", False)
    resumed = given.pop("resume", None)
    if resumed is not None:
        _refuse_other_options(given, is_plan=is_plan)
        run_dir, settings = resumed, None
        problems = resume_problems(run_dir)
    else:
        settings = SearchSettings(**{"run_name": time.strftime("%Y-%m-%d_%H%M%S"), **given})
        run_dir = settings.run_dir
        problems = new_run_problems(settings)
    if problems:
        raise UserError("\n".join(problems))
    try:
        with StopRequest().installed():
            if is_plan and settings is not None:
                _plan(settings)
                return 0
            run = _search(run_dir, settings, given.get("num_trials"))
    except RunInterrupted as interruption:
        print(f"\nstopped; {_what_is_kept(run_dir)}")
        return interruption.exit_code
    except RunFailed as failure:
        print(f"tune_main.py: error: {failure}\n{_what_is_kept(run_dir)}", file=sys.stderr)
        return 1
    print((run.run_dir / "summary.md").read_text())
    print(f"everything is in {run.run_dir}")
    return 0


def _refuse_other_options(given: Mapping[str, object], *, is_plan: bool) -> None:
    refused = [f"--{OPTIONS[name].flag}" for name in given if name != "num_trials"] + ["--plan"] * is_plan
    if refused:
        raise UserError(
            f"--resume uses the settings of the run and takes only --trials. Leave out {', '.join(refused)}."
        )


def _search(run_dir: Path, settings: SearchSettings | None, num_trials: int | None) -> Run:
    """A new run with `settings`; without them, the run in the folder is resumed."""
    # Imported late: torch and pandas take seconds, and bad options must be refused at once.
    from search.run import resume_search, run_search

    return resume_search(run_dir, num_trials=num_trials) if settings is None else run_search(settings)


def _plan(settings: SearchSettings) -> None:
    started = time.monotonic()
    print(f"forecasting the run on this machine; this takes at most {PLAN_LIMIT_S:.0f} s", flush=True)
    try:
        with time_limit(PLAN_LIMIT_S):
            from search.run import plan_search

            plan_search(settings, deadline=started + PLAN_LIMIT_S)
    except OutOfTime:
        raise RunFailed(
            f"no forecast: this machine is too busy for one within {PLAN_LIMIT_S:.0f} s. Try again later."
        ) from None


def _what_is_kept(run_dir: Path) -> str:
    if not (run_dir / "run.toml").exists():
        return "the run had not begun, so nothing was kept."
    return f"everything so far is kept. Resume with: python tune_main.py --resume {shlex.quote(str(run_dir))}"


def _is_user_error(error: ValueError) -> bool:
    if isinstance(error, UserError):
        return True
    # Imported late: it imports numpy.
    from model.examples import DataError

    return isinstance(error, DataError)


if __name__ == "__main__":
    sys.exit(main())
