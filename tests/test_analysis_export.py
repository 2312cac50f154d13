"""The exported network: the same answers, any number of images, and no file where that does not hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from retrained_run import make_retrained_run, some_digits

import tune_main
from model.classifier import Classifier
from model.config import TrainConfig
from model.network_config import BlockConfig, NetworkConfig
from model.recipe import Recipe
from search.analysis import export
from search.analysis.export import export_network
from search.analysis.results import Run
from search.errors import UserError

PIXELS = some_digits(40).examples.images


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network with something of everything that a config can ask for."""

    def block(kind: str, **others: int) -> BlockConfig:
        return BlockConfig(kind=kind, num_convs=2, inner_width=4, width=8, **others)  # type: ignore[arg-type]

    network = NetworkConfig(
        c1=block("dense"),
        c2=block("depthwise_separable", squeeze_width=4),
        c3=block("dilated"),
        output=block("spatially_separable"),
        norm="ghost",
        activation="celu",
        dropout=0.1,
    )
    config = TrainConfig(network=network.flat(), recipe=Recipe(batch_size=32, lr=0.05))
    return make_retrained_run(tmp_path_factory.mktemp("runs") / "run", config=config)


@pytest.fixture
def run(retrained: Run, tmp_path: Path) -> Run:
    shutil.copytree(retrained.run_dir, tmp_path / "run")
    return Run.load(tmp_path / "run")


def test_torch_export_answers_as_the_original(run: Run) -> None:
    written = export_network(run, "torch-export")
    assert written.path == run.run_dir / "model.pt2"
    assert written.num_images > 1
    assert written.max_difference < 1e-5
    names = {"class_names.json": ""}
    program = torch.export.load(written.path, extra_files=names)
    assert json.loads(names["class_names.json"]) == list(run.class_names)
    answers = program.module()(torch.from_numpy(PIXELS)).detach().numpy()  # 40 images: none that it was made with
    np.testing.assert_allclose(answers, run.predict(PIXELS), atol=1e-5)


@pytest.mark.slow
def test_onnx_answers_as_the_original(run: Run) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    written = export_network(run, "onnx", path=run.run_dir / "other.onnx")
    assert written.max_difference < 1e-5
    assert [path.name for path in run.run_dir.glob("*other*")] == ["other.onnx"], "one file, its weights inside"
    session = onnxruntime.InferenceSession(written.path)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(run.class_names)
    assert session.get_inputs()[0].shape[1:] == [32, 32, 3]
    (answers,) = session.run(None, {"images": PIXELS})
    np.testing.assert_allclose(answers, run.predict(PIXELS), atol=1e-5)


@pytest.mark.parametrize("lie", [lambda real: real + 1e-3, lambda real: real * np.nan])
def test_another_answer_is_refused_and_leaves_no_file(run: Run, monkeypatch: pytest.MonkeyPatch, lie: object) -> None:
    suffix, write, read = export.FORMATS["torch-export"]

    def lying(path: Path) -> object:
        answer = read(path)
        return lambda pixels: lie(answer(pixels))  # type: ignore[operator]

    monkeypatch.setitem(export.FORMATS, "torch-export", (suffix, write, lying))
    before = sorted(run.run_dir.iterdir())
    with pytest.raises(UserError, match=r"differs from the original by .* so nothing was written"):
        export_network(run, "torch-export")
    assert sorted(run.run_dir.iterdir()) == before


def test_a_network_that_cannot_be_exported_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def branches(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((1, 2)) if images.sum() > 7 else classifier.network(images.float())

    monkeypatch.setattr(Classifier, "forward", branches)
    with pytest.raises(UserError, match=r"cannot be exported as torch-export: \w+: .* Try the other --format") as told:
        export_network(run, "torch-export")
    assert "\n" not in str(told.value)
    assert not (run.run_dir / "model.pt2").exists()


def test_the_check_takes_given_images_else_kept_ones_else_training_images(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file, pixels in zip(files, PIXELS, strict=False):
        Image.fromarray(pixels).save(file)
    assert export_network(run, "torch-export", images=files).num_images == 3
    (kept,) = (run.run_dir / "test_predictions").iterdir()
    kept.unlink()
    assert export_network(run, "torch-export").num_images == 64
    data = run.document.data.model_copy(update={"name": "no/such/folder"})
    object.__setattr__(run, "document", run.document.model_copy(update={"data": data}))
    with pytest.raises(UserError, match=r"no real image to check the export with \(.*--images FILE"):
        export_network(run, "torch-export")


@pytest.mark.parametrize("file_format", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_one_image_is_enough_for_the_check(run: Run, tmp_path: Path, file_format: str) -> None:
    if file_format == "onnx":
        pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    Image.fromarray(PIXELS[0]).save(tmp_path / "one.png")
    written = export_network(run, file_format, images=[tmp_path / "one.png"])
    assert written.num_images == 1
    answers = export.FORMATS[file_format][2](written.path)(PIXELS)
    np.testing.assert_allclose(answers, run.predict(PIXELS), atol=1e-5)


def test_a_folder_takes_the_file_under_its_usual_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    assert export_network(run, "torch-export", path=tmp_path / "taken").path == tmp_path / "taken" / "model.pt2"
    assert (tmp_path / "taken" / "model.pt2").is_file()
    assert export_network(run, "torch-export", path=run.run_dir).path == run.run_dir / "model.pt2"


def test_the_command_says_what_was_checked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.run_dir / "taken.pt2"
    assert tune_main.main(["export", str(run.run_dir), "--format", "torch-export", "--out", str(out)]) == 0
    written, warning = capsys.readouterr()
    assert written.startswith(f"{out} agrees with the original on ")
    assert out.exists()
    # The folder holds what predictions need and no record.
    assert warning.startswith("WARNING: no model card: ")
    assert "study.db is damaged (it is missing)" in warning


def test_bad_places_are_refused_in_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(run.run_dir), "--format", "torch-export"]
    assert tune_main.main([*command, "--out", "no/such/model.pt2"]) == 2
    assert "--out no/such/model.pt2: no/such is not a folder" in capsys.readouterr().err
    (run.run_dir / "model.safetensors").unlink()
    assert tune_main.main(command) == 2
    assert "the winner has not been retrained" in capsys.readouterr().err


def test_a_missing_extra_names_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("search.setup.extras.find_spec", lambda name: None)
    assert tune_main.main(["export", str(run.run_dir), "--format", "onnx"]) == 2
    err = capsys.readouterr().err
    assert "--format onnx needs onnx, onnxruntime, onnxscript, not installed here: pip install -e '.[export]'" in err
    assert len(err.splitlines()) == 1
