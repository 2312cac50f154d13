"""The main job through real Ray on tiny data: once from start to end, and once resumed and extended."""

import math
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_space import TINY

from model.test_data import load_test_data
from search import Wish, load_run, resume_search
from search.analysis.results import Run
from search.analysis.summary import write_results
from search.retrain.predictions import predictions_path, read_predictions
from search.schedulers.promotion import NUM_FINALISTS
from search.setup.run_folder import read_settings
from search.study.wishes import add_wish

REPOSITORY = Path(__file__).parent.parent


def tune(results_dir: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "tune_main.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=results_dir, capture_output=True, text=True, timeout=600, check=False)


def finished_run(folder: Path, *arguments: object) -> Path:
    """The folder of a tiny run with these options too; what it printed is in stdout.txt and stderr.txt."""
    (folder / "tiny.toml").write_text(TINY)
    done = tune(
        folder,
        *("--dataset", "digits", "--image-size", 16, "--space", "tiny.toml", "--name", "tiny", "--seed", 7),
        *("--epochs", 4, "--grace-period", 1, "--reduction-factor", 2, "--precision", "fp32", "--cpus-per-trial", 1),
        *arguments,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder / "results" / "tiny"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 5 trials, started from a folder that is not the repository."""
    folder = tmp_path_factory.mktemp("run")
    return finished_run(folder, "--trials", 5, "--no-baseline", "--gpus", 1, "--tensorboard")


def test_every_promised_file_is_there(run_dir: Path) -> None:
    names = {path.name for path in run_dir.iterdir()}
    promised = {"run.toml", "space.toml", "study.db", "trials.csv", "trials.parquet", "epochs.parquet"}
    assert promised | {"best_config.toml", "model.safetensors", "summary.md", "report.html"} <= names
    assert not [name for name in names if name.startswith(".")], "a temporary file was left behind"
    assert not list(run_dir.glob("checkpoints/*/*")), "checkpoints of trials that are over were left behind"


def test_trackers_and_forecasts_have_followed_the_run(run_dir: Path) -> None:
    followed = {path.name for path in (run_dir / "tensorboard").glob("trial-*") if list(path.glob("events.*"))}
    trained = [record.number for record in load_run(run_dir).records if record.scores]
    assert followed == {f"trial-{number:04d}" for number in trained}


def test_the_report_has_the_winners_answers_to_the_test_images(run_dir: Path) -> None:
    predictions = read_predictions(predictions_path(run_dir, "retrain:winner:0"))
    assert predictions is not None
    [retrain] = load_run(run_dir).retrains.to_dict("records")
    assert predictions.is_right.mean() == pytest.approx(retrain["test_accuracy"])
    page = (run_dir / "report.html").read_text()
    assert f"{100 * retrain['test_accuracy']:.2f}\u00a0%" in page
    assert 'id="plot-confusion"' in page
    assert 'id="plot-retrain"' in page


def test_trials_have_a_row_each_with_a_reason_for_every_stop(run_dir: Path) -> None:
    trials = load_run(run_dir).trials
    ended = trials[trials.status != "rejected"]
    assert len(ended) == 5
    assert set(ended.status) <= {"completed", "stopped"}
    stopped = ended[ended.status == "stopped"]
    assert (stopped.stop_score <= stopped.stop_cutoff).all()  # of equal scores the one that started first goes on
    assert np.allclose(stopped.stop_margin, stopped.stop_score - stopped.stop_cutoff)
    completed = ended[ended.status == "completed"]
    assert (completed.epochs_trained == 4).all()
    assert len(completed) >= NUM_FINALISTS
    assert (pd.read_csv(run_dir / "trials.csv").trial_number == trials.trial_number).all()


def test_epochs_agree_with_trials(run_dir: Path) -> None:
    run = load_run(run_dir)
    counts = run.epochs.groupby("trial_number").size()
    trained = run.trials[run.trials.epochs_trained > 0].set_index("trial_number").epochs_trained
    assert counts.to_dict() == trained.to_dict()
    assert run.epochs.train_loss.notna().all()


def test_loaded_network_has_the_reported_test_accuracy(run_dir: Path) -> None:
    run = load_run(run_dir)
    document = tomllib.loads((run_dir / "run.toml").read_text())
    test = load_test_data("digits", image_size=16, seed=7, data_dir=Path("data"))
    from model.data import channel_statistics, load_training_data

    training = load_training_data("digits", image_size=16, seed=7, data_dir=Path("data"))
    mean, std = channel_statistics(training.examples.images, np.arange(len(training.examples)))
    images = (torch.from_numpy(test.images).permute(0, 3, 1, 2) / 255 - torch.tensor(mean)[:, None, None]) / (
        torch.tensor(std)[:, None, None]
    )
    with torch.inference_mode():
        predicted = run.load_network()(images.float()).argmax(1).numpy()
    (row,) = run.retrains.to_dict("records")
    assert math.isclose(row["test_accuracy"], (predicted == test.labels).mean(), abs_tol=2 / len(test.labels))
    assert document["data"]["name"] == "digits"


def test_missing_gpu_is_told_on_the_screen_and_in_the_summary(run_dir: Path) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("needs a machine without a GPU")
    assert "NO GPU is visible" in (run_dir.parent.parent / "stdout.txt").read_text()
    assert "NO GPU is visible" in (run_dir / "summary.md").read_text()


def test_the_forecast_is_told_first_and_judged_last(run_dir: Path) -> None:
    output = (run_dir.parent.parent / "stdout.txt").read_text()
    assert output.splitlines()[0].startswith("read digits: ")
    assert (
        output.index("read digits: ")
        < output.index("forecast: ")
        < output.index("trial 0 ")
        < output.index("The forecast was ")
    )
    assert "The forecast was " in (run_dir / "summary.md").read_text()
    run = load_run(run_dir)
    forecast = run.document.forecast
    assert forecast is not None
    assert forecast["actual_epochs"] == sum(record.epochs_spent for record in run.records)
    assert forecast["actual_wall_s"] > run.trials.seconds.max()
    assert forecast["num_trials"] == 5


def test_a_plan_names_everything_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    done = tune(
        tmp_path,
        *("--dataset", "digits", "--image-size", 16, "--space", "tiny.toml", "--trials", 3, "--epochs", 2),
        *("--grace-period", 1, "--precision", "fp32", "--cpus-per-trial", 1, "--plan"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "3 trials, ",
        "side by side",
        "epochs in trials",
        "wall time",
        "CPU core hours; disk",
        "memory of the trials",
    ):
        assert words in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def test_ray_is_silent(run_dir: Path) -> None:
    output = (run_dir.parent.parent / "stdout.txt").read_text() + (run_dir.parent.parent / "stderr.txt").read_text()
    assert "ray" not in output.lower().replace("ray 2.", "").replace("gray", "").replace("array", "")


def test_wishes_around_the_end_are_answered(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the last process has left, and one that is asked while this process writes its results."""
    add_wish(load_run(run_dir).study, Wish(num_slots=1), by="anna")

    def write_and_ask(run: Run) -> None:
        write_results(run)
        add_wish(run.study, Wish(num_slots=1), by="ben")

    monkeypatch.setattr("search.run.write_results", write_and_ask)
    resume_search(run_dir)
    answers = [one.answer for one in load_run(run_dir).wishes]
    words = ["the run had ended", "the run has ended"]
    assert [(one.is_done, one.text) for one in answers if one] == [(False, text) for text in words]
    assert all(text in (run_dir / "report.html").read_text() for text in words)


@pytest.mark.slow
def test_finished_run_is_extended_in_the_same_study(run_dir: Path) -> None:
    before = load_run(run_dir).trials.set_index("trial_number")
    done = tune(run_dir.parent.parent, "--resume", "results/tiny", "--trials", 7)
    assert done.returncode == 0, done.stdout + done.stderr
    after = load_run(run_dir).trials.set_index("trial_number")
    assert len(after[after.status != "rejected"]) == 7
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    # Killed now, it would go on to as many.
    assert read_settings(run_dir).num_trials == 7
    refused = tune(run_dir.parent.parent, "--resume", "results/tiny", "--trials", 6)
    assert refused.returncode == 2
    assert refused.stderr == ("tune_main.py: error: --trials 6: this run has 7 already. Give that many or more.\n")
