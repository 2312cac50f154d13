"""Small folders of images against scikit-learn: `python -m benchmarks.small_folders --dataset FOLDER --out F`.

300 images of 2 classes, 1,000 of 5 and 3,000 of 10, from the first classes of a data set, written as PNG files; the
test images are all of those classes. `tune_main.py`, all by default but for --time-budget, gets the same minutes as
scikit-learn's grid search: support vector machines with an RBF kernel on histograms of oriented gradients or on pixels,
three stratified folds, all cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from benchmarks.conditions import parser, write_result
from model.data import load_training_data
from model.examples import Examples
from model.splits import stratified_subset
from model.test_data import load_test_data
from search import load_run

FOLDERS = ((300, 2), (1000, 5), (3000, 10))
"""(training images, classes)."""
NUM_BINS = 9
_CLIP = 0.2
_PROGRAM = Path(__file__).parent.parent / "tune_main.py"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", required=True, help="folder of images with a test split")
    options.add_argument("--minutes", type=float, default=10.0, help="for each side (10)")
    arguments = options.parse_args()
    train = load_training_data(arguments.dataset, image_size=None, seed=0, data_dir=Path("data"))
    test = load_test_data(arguments.dataset, image_size=None, seed=0, data_dir=Path("data"))
    rows: list[dict[str, Any]] = []
    for num_images, num_classes in FOLDERS:
        parts = {
            "train": chosen(train.examples, num_images, num_classes, seed=0),
            "test": chosen(test, None, num_classes, seed=0),
        }
        sides = {"ours": _ours(parts, arguments.minutes), "scikit-learn": _rival(parts, arguments.minutes)}
        rows.append({"images": num_images, "classes": num_classes, **sides})
        print(rows[-1], flush=True)
    write_result(arguments.out, {"benchmark": "small_folders", "minutes": arguments.minutes, "results": rows})


def chosen(examples: Examples, num_images: int | None, num_classes: int, *, seed: int) -> Examples:
    """`num_images` stratified images of the first classes, or all of them."""
    indices = np.flatnonzero(examples.labels < num_classes)
    if num_images is not None:
        indices = stratified_subset(examples.labels, indices, num_images, seed=seed)
    return Examples(examples.images[indices], examples.labels[indices])


def write_folder(folder: Path, parts: Mapping[str, Examples]) -> None:
    """Writes `<part>/class_<label>/<index>.png`."""
    for part, examples in parts.items():
        for index, (image, label) in enumerate(zip(examples.images, examples.labels, strict=True)):
            path = folder / part / f"class_{label}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def _ours(parts: Mapping[str, Examples], minutes: float) -> dict[str, Any]:
    """The winner's test accuracy, a fraction (single view, mean over its seeds), and the seconds of the command."""
    with tempfile.TemporaryDirectory() as scratch:
        write_folder(Path(scratch) / "images", parts)
        command = [sys.executable, str(_PROGRAM), "--dataset", "images", "--time-budget", f"{60 * minutes:.0f}s"]
        start = time.perf_counter()
        subprocess.run([*command, "--name", "run"], cwd=scratch, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - start
        run = load_run(Path(scratch) / "results" / "run")
        winner = run.result.winner
        assert winner is not None
        return {
            "test_accuracy": winner.accuracy,
            "seeds": winner.test.n,
            "trials": len(run.trials),
            "seconds": seconds,
        }


def _rival(parts: Mapping[str, Examples], minutes: float) -> dict[str, Any]:
    """As `_ours`, of the better of two grid searches by the accuracy of their folds, with the seconds of both."""
    start, train, test = time.perf_counter(), parts["train"], parts["test"]
    found = {}
    for name, pipeline, grid in _pipelines(len(train)):
        grid = {"svm__C": [0.3, 1.0, 3.0, 10.0, 30.0], "svm__gamma": [1e-4, 3e-4, 1e-3, 3e-3, "scale"], **grid}
        found[name] = GridSearchCV(pipeline, grid, cv=3, n_jobs=-1).fit(train.images, train.labels)
    seconds = time.perf_counter() - start
    assert seconds < 60 * minutes, f"the grid search took {seconds:.0f} s"
    name = max(found, key=lambda name: found[name].best_score_)
    return {
        "test_accuracy": float(found[name].score(test.images, test.labels)),
        "features": name,
        "chosen": found[name].best_params_,
        "seconds": seconds,
    }


def _pipelines(num_images: int) -> list[tuple[str, Pipeline, dict[str, Any]]]:
    """(name, pipeline whose last step is "svm", its own part of the grid)."""
    gradients = FunctionTransformer(oriented_gradients, kw_args={"cell": 8})
    pixels = FunctionTransformer(_flat)
    return [
        (
            "oriented gradients",
            Pipeline([("features", gradients), ("scale", StandardScaler()), ("svm", SVC())]),
            {"features__kw_args": [{"cell": 4}, {"cell": 8}]},
        ),
        (
            "pixels",
            Pipeline([("features", pixels), ("scale", StandardScaler()), ("pca", PCA(random_state=0)), ("svm", SVC())]),
            {"pca__n_components": [50, min(150, num_images // 3)]},
        ),
    ]


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return images.reshape(len(images), -1) / 255


def oriented_gradients(images: NDArray[np.uint8], cell: int) -> NDArray[np.float64]:
    """Histograms of oriented gradients (N, features) of images (N, S, S, 3), S a multiple of `cell` pixels.

    Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005: the channel with the steepest
    gradient at each pixel, 9 unsigned orientations, blocks of 2x2 cells, each normalised, clipped and normalised again.
    """
    down, right = np.gradient(images.astype(np.float64), axis=(1, 2))
    steepest = np.hypot(down, right).argmax(axis=3)[..., None]
    down, right = (np.take_along_axis(part, steepest, axis=3)[..., 0] for part in (down, right))
    bins = np.floor((np.arctan2(down, right) % np.pi) / np.pi * NUM_BINS).astype(int) % NUM_BINS
    weights = np.hypot(down, right)[..., None] * np.eye(NUM_BINS)[bins]
    count, cells = len(images), images.shape[1] // cell
    histograms = weights.reshape(count, cells, cell, cells, cell, NUM_BINS).sum(axis=(2, 4))
    views = np.lib.stride_tricks.sliding_window_view(histograms, (2, 2), axis=(1, 2))
    blocks = views.reshape(count, (cells - 1) ** 2, -1)
    blocks = np.minimum(blocks / _norm(blocks), _CLIP)
    return (blocks / _norm(blocks)).reshape(count, -1)


def _norm(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-6)


if __name__ == "__main__":
    main()
