"""A reader that goes away ends the words and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def python(code: str, command: str) -> tuple[int, str]:
    """The exit code of a program in a shell's pipe, and what it wrote to the file `done`."""
    script = textwrap.dedent(code)
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}", "bash", sys.executable, script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    return done.returncode, done.stdout + done.stderr


PRINTS_AND_GOES_ON = """
    import sys, time
    from search.display.display import Display
    from search.display.pipes import quiet_output
    with quiet_output():
        display = Display()
        for number in range(2000):
            display.message(f"{number} " + 80 * "x")
            print("also printed", file=sys.stderr)
    sys.exit(7)
"""


@pytest.mark.parametrize("reader", ["| head -1", "2>&1 | head -1", "2>&1 | true", "> /dev/null"])
def test_a_closed_pipe_ends_the_words_only(reader: str) -> None:
    code, words = python(PRINTS_AND_GOES_ON, f'"$1" -c "$2" {reader}')
    assert code == 7
    assert "BrokenPipe" not in words
    assert "Traceback" not in words


def test_last_words_reach_the_terminal_when_nobody_reads() -> None:
    code = """
        import sys
        from search.display.pipes import last_words, quiet_output
        with quiet_output():
            for _ in range(9000):
                print(40 * "x")
            last_words("resume with this", sys.stdout)
    """
    program = textwrap.dedent(code)
    inner = f"""
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "-c", '"$0" -c "$1" 2>&1 | true', {sys.executable!r}, {program!r}])
words = b""
try:
    while part := os.read(terminal, 4096):
        words += part
except OSError:
    pass
os.waitpid(pid, 0)
sys.exit(0 if b"resume with this" in words else 1)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run([sys.executable, "-c", inner], env=environment, check=False, timeout=60).returncode == 0


def test_words_that_the_locale_lacks_and_a_missing_output_end_nothing() -> None:
    code = """
        import sys
        from search.display.display import Display
        from search.display.pipes import quiet_output
        with quiet_output():
            Display().message("größe \u2713")
            print("größe")
        sys.exit(9)
    """
    exit_code, words = python(code, 'PYTHONIOENCODING=ascii:strict "$1" -c "$2"')
    assert (exit_code, words.splitlines()) == (9, ["gr\\xf6\\xdfe \\u2713", "gr\\xf6\\xdfe"])
    assert python(code, '"$1" -c "$2" >&-') == (9, "")


def test_other_errors_of_a_stream_are_not_hidden() -> None:
    code = """
        import sys
        from search.display.pipes import quiet
        full = quiet(open("/dev/full", "w"))
        try:
            full.write("x")
            full.flush()
        except OSError as error:
            sys.exit(error.errno)
    """
    assert python(code, '"$1" -c "$2"')[0] == 28
