"""The command line: arguments -> SearchSettings -> search.run_search -> the summary on the screen.

python tune_main.py --gpus 1

PYTHON_ARGCOMPLETE_OK: the shell may ask this program for completions.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.command_actions import ACTIONS, command
from search.command_line import build_parser, command_parser
from search.display.pipes import last_words, quiet_output
from search.errors import RunFailed, RunInterrupted, UserError
from search.files import read_text
from search.machine.signals import StopRequest
from search.machine.time_limit import OutOfTime, time_limit
from search.paths import from_here, is_own_code
from search.settings import OPTIONS, SearchSettings
from search.setup.preflight import new_run_problems, resume_problems
from search.setup.settings_file import read_settings_file

if TYPE_CHECKING:
    from search.analysis.results import Run


PLAN_LIMIT_S = 60.0
"""The most that --plan may take."""
_RESUME_OPTIONS = ("num_trials", "dataset", "network", "notify", "cluster")
"""The settings that --resume takes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the process's exit code."""
    if "_ARGCOMPLETE" in os.environ:
        from search.completion import answer_shell

        answer_shell()
    words = sys.argv[1:] if arguments is None else list(arguments)
    with quiet_output():
        try:
            if words and not words[0].startswith("-"):
                parser = command_parser(words[0])
                return ACTIONS[words[0]](parser.parse(words[1:]))
            return _run(build_parser().parse(words))
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except ValueError as error:
            if not _is_user_error(error):
                raise
            for line in str(error).splitlines():
                print(f"tune_main.py: error: {line}", file=sys.stderr)
            return 2


def _run(options: argparse.Namespace) -> int:
    given = vars(options)
    is_plan, config = given.pop("plan", False), given.pop("config", None)
    resumed, trust_folder = given.pop("resume", None), given.pop("trust_folder", False)
    if resumed is not None:
        _refuse_other_options(given, [f"--{name}" for name, asked in (("plan", is_plan), ("config", config)) if asked])
        run_dir, settings = resumed, None
        problems = resume_problems(run_dir, trust_folder=trust_folder, cluster=given.get("cluster"))
    else:
        if trust_folder:
            raise UserError("--trust-folder belongs to --resume. Leave it out.")
        kept = {} if config is None else read_settings_file(config, overridden=given)
        settings = SearchSettings(**{"run_name": time.strftime("%Y-%m-%d_%H%M%S"), **kept, **given})
        run_dir = settings.run_dir
        problems = new_run_problems(settings)
    if problems:
        raise UserError("\n".join(problems))
    network = given.get("network") if settings is None else settings.network
    try:
        with StopRequest().installed():
            if is_plan and settings is not None:
                _plan(settings)
                return 0
            run = _search(settings) if settings is not None else _resume(run_dir, given, trust_folder=trust_folder)
    except RunInterrupted as interruption:
        last_words(f"\nstopped; {_what_is_kept(run_dir, network)}", sys.stdout)
        return interruption.exit_code
    except RunFailed as failure:
        last_words(f"tune_main.py: error: {failure}\n{_what_is_kept(run_dir, network)}", sys.stderr)
        return 1
    print(read_text(run.run_dir / "summary.md"))
    print(f"everything is in {from_here(run.run_dir)}")
    return 0


def _refuse_other_options(given: Mapping[str, object], others: list[str]) -> None:
    refused = [f"--{OPTIONS[name].flag}" for name in given if name not in _RESUME_OPTIONS] + others
    if refused:
        raise UserError(
            "--resume uses the settings of the run and takes only --trials, --dataset, --network, --notify, --cluster "
            f"and --trust-folder. Leave out {', '.join(refused)}."
        )


def _search(settings: SearchSettings) -> Run:
    # Imported late: torch and pandas take seconds. Bad options must be refused at once, and bad images before that.
    from search.setup.survey_text import read_and_say

    read = read_and_say(settings, _say)
    from search.run import run_search

    return run_search(settings, read=read)


def _resume(run_dir: Path, given: Mapping[str, Any], *, trust_folder: bool) -> Run:
    from search.run import resume_search

    return resume_search(run_dir, **given, trust_folder=trust_folder)


def _plan(settings: SearchSettings) -> None:
    started = time.monotonic()
    _say(f"forecasting the run on this machine; this takes at most {PLAN_LIMIT_S:.0f} s")
    try:
        with time_limit(PLAN_LIMIT_S):
            from search.setup.survey_text import read_and_say

            read = read_and_say(settings, _say)
            from search.run import plan_search

            plan_search(settings, deadline=started + PLAN_LIMIT_S, read=read)
    except OutOfTime:
        raise RunFailed(
            f"no forecast: this machine is too busy for one within {PLAN_LIMIT_S:.0f} s. Try again later."
        ) from None


def _say(line: str) -> None:
    """Prints a line at once, also into a file."""
    print(line, flush=True)


def _what_is_kept(run_dir: Path, network: str | None) -> str:
    if not (run_dir / "run.toml").exists():
        return "the run had not begun, so nothing was kept."
    again = ["--network", network] if network is not None and is_own_code(network) else []
    return f"everything so far is kept. Resume with: {command('--resume', from_here(run_dir), *again)}"


def _is_user_error(error: ValueError) -> bool:
    if isinstance(error, UserError):
        return True
    # Imported late: it imports numpy.
    from model.examples import DataError

    return isinstance(error, DataError)


def _restart_in_utf8() -> None:
    """Makes names of files and words on the screen UTF-8 whatever the locale, which only a new process can."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    _restart_in_utf8()
    sys.exit(main())
