"""tune_main: bad input is refused before any work, with exit code 2."""

import contextlib
import io
import signal
import time
from pathlib import Path

import pytest

import search.run
import tune_main
from search.display.display import Display
from search.errors import RunFailed
from search.settings import SearchSettings


def run_main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = tune_main.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def assert_refused(capsys: pytest.CaptureFixture[str], results_dir: Path, message: str, *arguments: object) -> None:
    """Exit code 2, the message on one line, no traceback, and no run folder left behind."""
    code, err = run_main(capsys, "--results-dir", results_dir, "--name", "r", "--dataset", "digits", *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (results_dir / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trials", 0), "`num_trials` (--trials) must be at least 1; got 0"),
        (("--epochs", 0), "`max_epochs` (--epochs) must be at least 1; got 0"),
        (("--grace-period", 9, "--epochs", 8), "got grace_period 9 with max_epochs 8"),
        (("--reduction-factor", 1), "`reduction_factor` must be at least 2; got 1"),
        (("--precision", "fp8"), "`precision` must be 'auto', 'bf16' or 'fp32'; got 'fp8'"),
        (("--retrain-seeds", 0), "`retrain_seeds` must be at least 1; got 0"),
        (("--image-size", 4), "`image_size` must be at least 8; got 4"),
        (("--dataset", "no/such/folder"), "no/such/folder is not a known data set or folder"),
        (("--search-examples", 5000), "--search-examples 5000: the training split has"),
        (("--cpus-per-trial", 4096), "--cpus-per-trial 4096: this machine has"),
        (("--max-params", 10), "no config within the limits"),
        (("--space", "no-such-file.toml"), "no-such-file.toml cannot be read (No such file or directory)"),
        (("--storage", "nonsense"), "--storage nonsense cannot be opened"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    assert_refused(capsys, tmp_path, message, *arguments)


def test_typo_in_a_space_file_names_the_known_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text('lrr = {kind = "log", low = 0.01, high = 1.0}\n')
    assert_refused(capsys, tmp_path / "results", "Did you mean `lr`?", "--space", space)


def test_missing_gpu_is_an_error_when_strict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("needs a machine without a GPU")
    assert_refused(capsys, tmp_path, "--gpus 1: no GPU is visible here", "--gpus", 1, "--strict")


def test_existing_run_name_is_refused_and_untouched(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "trials.csv").write_text("precious")
    code, err = run_main(capsys, "--results-dir", tmp_path, "--name", "r", "--dataset", "digits")
    assert code == 2
    assert "exists already" in err
    assert (tmp_path / "r" / "trials.csv").read_text() == "precious"


def test_results_dir_that_is_a_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    code, err = run_main(capsys, "--results-dir", tmp_path / "results", "--name", "r", "--dataset", "digits")
    assert code == 2
    assert "results is a file. Give a folder." in err


def test_resume_of_no_run_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, err = run_main(capsys, "--resume", tmp_path)
    assert code == 2
    assert "holds no run" in err


def test_a_plan_that_takes_too_long_is_ended(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_for_ever(_settings: SearchSettings, *, deadline: float, read: object) -> None:
        while time.monotonic() < deadline + 60:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    monkeypatch.setattr(tune_main, "PLAN_LIMIT_S", 0.5)
    handler = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(search.run, "plan_search", measure_for_ever)
    start = time.monotonic()
    code = tune_main.main(["--plan", "--dataset", "digits", "--results-dir", str(tmp_path / "results")])
    assert time.monotonic() - start < 10
    out, err = capsys.readouterr()
    assert out.startswith("forecasting the run on this machine; this takes at most 0 s\n")
    assert code == 1
    assert "no forecast: this machine is too busy for one within 0 s. Try again later." in err
    assert not (tmp_path / "results").exists()
    assert signal.getsignal(signal.SIGALRM) == handler


def test_the_images_are_told_of_before_the_run_prepares_anything_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_before: list[str] = []

    def run_search(_settings: SearchSettings, *, read: object) -> None:
        said_before.append(capsys.readouterr().out)
        raise RunFailed("enough")

    monkeypatch.setattr(search.run, "run_search", run_search)
    assert tune_main.main(["--dataset", "digits", "--results-dir", str(tmp_path / "results")]) == 1
    [said] = said_before
    assert said.startswith("read digits: ")


def test_a_failed_forecast_does_not_end_the_run() -> None:
    screen = io.StringIO()
    with search.run.ignore_forecast_errors(Display(screen)):
        raise ValueError("of no use\nat all")
    assert screen.getvalue() == "no forecast: of no use\n"


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tune_main.main(["--version"])
    assert capsys.readouterr().out.startswith("convladder ")
