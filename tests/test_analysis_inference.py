"""The network taken away: what a run's folder alone says about images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from retrained_run import make_retrained_run, some_digits

import tune_main
from model.augment import normalise
from model.classifier import Classifier
from model.data import DataError, channel_statistics
from model.decoding import resize_images
from model.test_data import load_test_data
from search.analysis import inference
from search.analysis.results import Run
from search.errors import UserError
from search.retrain.predictions import predictions_path, read_predictions
from search.retrain.weights import read_weights
from search.setup.run_lock import run_lock


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_retrained_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(retrained: Run, tmp_path: Path) -> Run:
    """The folder moved away, with nothing beside what the network needs."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("run.toml", "best_config.toml", "model.safetensors"):
        shutil.copy(retrained.run_dir / name, folder)
    return Run.load(folder)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A real digit, larger, not square, with a palette."""
    path = tmp_path / "photo.png"
    Image.fromarray(some_digits(1).examples.images[0]).resize((90, 60)).convert("P").save(path)
    return path


def test_predictions_are_those_of_the_retrain(retrained: Run, run: Run) -> None:
    test = load_test_data("digits", image_size=32, seed=0, data_dir=Path("data"))
    answers = read_predictions(predictions_path(retrained.run_dir, "retrain:winner:0"))
    assert answers is not None
    probabilities = run.predict(test.images)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, answers.probabilities, atol=1e-5)


def test_the_statistics_are_of_all_images_that_were_retrained_on(run: Run) -> None:
    images = some_digits(320).examples.images
    mean, std = channel_statistics(images, np.arange(len(images)))
    weights = read_weights(run.run_dir / "model.safetensors")
    assert (weights.mean, weights.std) == (mean, std)
    assert list(mean) != list(run.document.data.mean)


def test_the_classifier_normalises_as_the_training_does(run: Run) -> None:
    images = torch.from_numpy(some_digits(5).examples.images)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    network = run.load_network()
    batch = normalise(images, mean=mean, std=std, dtype=torch.float32).contiguous()
    with torch.inference_mode():
        expected = network(batch).softmax(1)
        torch.testing.assert_close(Classifier(network, mean=mean, std=std)(images), expected)


def test_files_and_arrays_are_resized_alike(run: Run, photo: Path) -> None:
    pixels = np.asarray(Image.open(photo).convert("RGBA").convert("RGB"))
    np.testing.assert_array_equal(run.predict([photo]), run.predict(resize_images(pixels[None], 32)))
    np.testing.assert_array_equal(run.predict([str(photo)]), run.predict(pixels[None]))


def test_the_command_tells_class_and_probability(run: Run, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["predict", str(run.run_dir), str(photo), str(photo)]) == 0
    (probabilities,) = run.predict([photo])
    best = int(probabilities.argmax())
    assert capsys.readouterr().out == f"{photo}: {best} {100 * probabilities[best]:.2f} %\n" * 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), r"must be uint8 \(N, H, W, 3\) RGB; got float32 \(1, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.uint8), r"got uint8 \(8, 8, 3\)"),
        ([], "there are no images to predict"),
    ],
)
def test_what_is_no_image_batch_is_refused(run: Run, images: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run.predict(images)  # type: ignore[arg-type]


def test_a_file_that_is_no_image_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"notes\.txt cannot be read as an image"):
        run.predict([tmp_path / "notes.txt"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", None, "model.safetensors does not exist: the winner has not been retrained"),
        ("model.safetensors", "torn", "model.safetensors is damaged"),
        ("best_config.toml", None, "best_config.toml cannot be read (No such file or directory)"),
        ("best_config.toml", "c1_width = 'x", "best_config.toml does not fit model.safetensors"),
        ("best_config.toml", "c1_width = 8", "best_config.toml does not fit model.safetensors"),
        ("run.toml", None, "holds no run"),
    ],
)
def test_a_folder_that_is_not_whole_is_told_in_one_line(
    run: Run, photo: Path, name: str, content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.run_dir / name
    path.unlink() if content is None else path.write_text(content)
    assert tune_main.main(["predict", str(run.run_dir), str(photo)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_run_that_goes_on_is_not_to_be_resumed(run: Run) -> None:
    (run.run_dir / "model.safetensors").unlink()
    with run_lock(run.run_dir), pytest.raises(UserError, match=r"not been retrained\. The run goes on"):
        run.load_network()
    with pytest.raises(UserError, match=r"not been retrained\. Resume the run"):
        run.load_network()


def test_a_path_that_is_no_file_is_told_in_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.png"
    assert tune_main.main(["predict", str(run.run_dir), str(path)]) == 2
    assert capsys.readouterr().err == (
        f"tune_main.py: error: {path} cannot be read as an image (it does not exist). Replace or remove it.\n"
    )


def test_a_folder_becomes_a_table(
    run: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "_CHUNK", 2)
    folder, table = tmp_path / "photos", tmp_path / "answers.csv"
    names = ("a.png", "deep/b.png", 'c, "d".png', "e.png", "f.png")
    for name in (*names, ".hidden.png", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / name)
    for name in ("e.png", "f.png"):  # all of one part
        (folder / name).write_bytes(b"no image")
    assert tune_main.main(["predict", str(run.run_dir), str(folder), "--csv", str(table)]) == 1
    out, err = capsys.readouterr()
    assert out == f"wrote the answers to 3 images to {table}\n"
    assert [word in err for word in ("e.png", "f.png", "notes.txt")] == [True, True, False]
    frame = pd.read_csv(table)
    assert list(frame["path"]) == sorted(str(folder / name) for name in names[:3])
    (expected,) = run.predict([photo])
    np.testing.assert_allclose(frame[[f"p_{name}" for name in run.class_names]], np.tile(expected, (3, 1)), rtol=1e-6)
    assert list(frame["class"].astype(str)) == [run.class_names[int(expected.argmax())]] * 3
    np.testing.assert_allclose(frame["probability"], expected.max(), rtol=1e-6)


def test_a_folder_without_images_and_a_table_without_place_are_refused(
    run: Run, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert tune_main.main(["predict", str(run.run_dir), str(tmp_path / "empty")]) == 2
    assert "empty is a folder without image files. Give another." in capsys.readouterr().err
    assert tune_main.main(["predict", str(run.run_dir), str(photo), "--csv", str(tmp_path / "no" / "a.csv")]) == 2
    assert "a.csv cannot be written (No such file or directory)." in capsys.readouterr().err


def test_one_bad_file_costs_no_other_its_answer(
    run: Run, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, missing = tmp_path / "bad.png", tmp_path / "missing.png"
    bad.write_bytes(photo.read_bytes()[:80])
    assert tune_main.main(["predict", str(run.run_dir), *map(str, (photo, bad, photo, missing))]) == 1
    out, err = capsys.readouterr()
    (probabilities,) = run.predict([photo])
    assert out == f"{photo}: {probabilities.argmax()} {100 * probabilities.max():.2f} %\n" * 2
    assert [line.partition(" cannot")[0] for line in err.splitlines()] == [
        f"tune_main.py: error: {path}" for path in (bad, missing)
    ]


def test_a_bad_file_given_twice_is_named(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "image.png"
    assert tune_main.main(["predict", str(run.run_dir), str(path), str(path)]) == 2
    assert f"{path} cannot be read as an image" in capsys.readouterr().err


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_main.main(["predikt", "results/x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tune_main.py: error: unknown command `predikt`. Known: init, predict")
    assert len(err.splitlines()) == 1


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        tune_main.main(["--help"])
    assert "predict  classify image files and folders" in capsys.readouterr().out
