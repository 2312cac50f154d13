"""Ways of starting the program: other locales, a user's own model.py, threads, ignored signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from image_files import write_splits

from search.machine.signals import STOP_SIGNALS, StopRequest

REPOSITORY = Path(__file__).parent.parent
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def tune(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "tune_main.py"), *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        timeout=120,
    )


def test_inspect_says_what_would_be_read_in_seconds_without_torch(tmp_path: Path) -> None:
    write_splits(tmp_path)
    done = tune("inspect", tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        f"read {tmp_path}: 8 training and 8 test images of 2 classes, 4 training images each"
    )
    (tmp_path / "test" / "cat" / "zz.png").write_bytes(b"x")
    done = tune("inspect", tmp_path)
    assert done.returncode == 2
    assert "zz.png cannot be read as an image" in done.stderr
    done = tune("inspect", tmp_path, "--skip-unreadable")
    assert done.returncode == 0
    assert "WARNING: 1 unreadable image was left out" in done.stdout
    assert tune("inspect", tmp_path, "--image-size", "4").returncode == 2
    code = (
        "import sys, tune_main; tune_main.main(sys.argv[1:]); assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, "inspect", str(tmp_path)], cwd=REPOSITORY, check=True, capture_output=True
    )


@pytest.mark.parametrize("environment", [{}, C_LOCALE, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}])
def test_names_are_utf8_whatever_the_locale(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "größe"
    write_splits(folder)
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / split / "café")
    done = tune("inspect", folder, **environment)
    assert done.returncode == 0, done.stderr
    assert f"read {folder}: 8 training" in done.stdout
    assert "  café: 4 training, 4 test images" in done.stdout


def test_a_users_own_model_py_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    script = tmp_path / "train.py"
    script.write_text("from search import run_search\n")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / 'model.py'} is imported as `model` and hides convladder's own")
    assert "Rename it" in last


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest().installed() as stop:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == stop._handle
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_a_thread_runs_without_signal_handlers() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    entered = []

    def work() -> None:
        with StopRequest().installed() as stop:
            entered.append([signal.getsignal(number) for number in STOP_SIGNALS])
            stop.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [before]
