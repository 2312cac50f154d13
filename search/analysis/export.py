"""The winner as one file for other programs, preprocessing included, in ONNX or torch.export format.

Both graphs map `images`, uint8 (N, S, S, 3) RGB for any N, to `probabilities`, float32 (N, K). The file also holds the
class names.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.classifier import Classifier
from model.data import DataError, load_training_data
from model.decoding import EncodedImage, decode_images, read_images
from model.device_errors import telling_line
from search.analysis.results import Run
from search.errors import UserError
from search.files import replaced_atomically
from search.retrain.predictions import read_predictions
from search.setup.extras import missing_extra

TOLERANCE = 1e-4
"""Largest difference of a probability that float32 rounding in other kernels can explain."""
_NUM_CHECKED = 64
_CLASS_NAMES = "class_names"
_Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported file that passed the check."""

    path: Path
    num_images: int
    """Real images that the check compared."""
    max_difference: float
    """Largest difference of a probability over those images."""


def export_network(run: Run, file_format: str, *, path: Path | None = None, images: Sequence[Path] = ()) -> Export:
    """Exports the winner in one of `FORMATS`, if the export gives the original's probabilities on real images.

    `path` may be a folder. `images` are files for this check; by default, the images in the run's folder, else training
    images. UserError and no file if the probabilities differ or something is missing.
    """
    problem = missing_extra("--format onnx", "export") if file_format == "onnx" else None
    if problem is not None:
        raise UserError(problem)
    suffix, write, read = FORMATS[file_format]
    folder = path if path is not None and path.is_dir() else run.run_dir
    target = path if path is not None and path is not folder else folder / f"model{suffix}"
    if not target.parent.is_dir():
        raise UserError(f"--out {target}: {target.parent} is not a folder. Create it or give another file.")
    classifier = run.load_classifier()
    pixels = read_images(images, image_size=run.image_size).images if images else _own_images(run)
    try:
        with replaced_atomically(target, suffix=suffix) as temporary, _quiet():
            # A graph that is traced with one image takes one image only, however many the check has.
            write(classifier, np.repeat(pixels[:1], 2, axis=0), run.class_names, temporary)
            difference = _largest_difference(classifier, read(temporary), pixels)
            if not difference <= TOLERANCE:
                raise UserError(
                    f"the exported network differs from the original by {difference:.2g} in a probability (at most "
                    f"{TOLERANCE:g} is rounding), so nothing was written. Try the other --format."
                )
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"--out {target} cannot be written ({error.strerror}). Give another file.") from None
    except Exception as error:  # from torch or ONNX, about what a user's network does
        line = telling_line(error)
        raise UserError(
            f"the network cannot be exported as {file_format}: {type(error).__name__}: {line}. Try the other --format."
        ) from None
    return Export(path=target, num_images=len(pixels), max_difference=difference)


def _largest_difference(classifier: Classifier, answer: _Answer, pixels: NDArray[np.uint8]) -> float:
    """Over all images in one batch and over the first alone, to test two batch sizes. NaN if there is one."""
    differences = []
    for part in (pixels, pixels[:1]):
        with torch.inference_mode():
            expected = classifier(torch.from_numpy(part)).numpy()
        differences.append(np.abs(answer(part) - expected).max())
    return float(np.max(differences))


def _own_images(run: Run) -> NDArray[np.uint8]:
    """The test images that the run keeps for its report, else training images."""
    for path in sorted((run.run_dir / "test_predictions").glob("*.parquet")):
        answers = read_predictions(path)
        if answers is not None and answers.pictures:
            encoded = [EncodedImage(f"{path} {index}", png) for index, png in answers.pictures.items()]
            return decode_images(encoded, image_size=run.image_size)
    try:
        data = load_training_data(
            run.document.data.name,
            image_size=run.image_size,
            seed=run.settings.seed,
            data_dir=run.settings.data_dir,
            skip_unreadable=run.settings.skip_unreadable,
        )
    except DataError as error:
        raise UserError(f"no real image to check the export with ({error}). Give some: --images FILE...") from None
    return data.examples.images[:_NUM_CHECKED]


def _write_onnx(classifier: Classifier, examples: NDArray[np.uint8], class_names: Sequence[str], path: Path) -> None:
    program = torch.onnx.export(
        classifier,
        (torch.from_numpy(examples),),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    assert program is not None
    program.model.metadata_props[_CLASS_NAMES] = json.dumps(list(class_names))
    program.save(str(path))


def _read_onnx(path: Path) -> _Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(["probabilities"], {"images": pixels})[0])


def _write_torch_export(
    classifier: Classifier, examples: NDArray[np.uint8], class_names: Sequence[str], path: Path
) -> None:
    program = torch.export.export(
        classifier,
        (torch.from_numpy(examples),),
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    torch.export.save(program, path, extra_files={f"{_CLASS_NAMES}.json": json.dumps(list(class_names))})


def _read_torch_export(path: Path) -> _Answer:
    module: Any = torch.export.load(path).module()

    def answer(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(pixels)).numpy())

    return answer


FORMATS = {
    "onnx": (".onnx", _write_onnx, _read_onnx),
    "torch-export": (".pt2", _write_torch_export, _read_torch_export),
}
"""By format name: the file suffix, the writer, and the reader that returns a predict function."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporters' warnings about their internals. The check finds their errors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
