"""CIFAR-10 in torchvision's folder cifar-10-batches-py, downloaded if it is missing."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.decoding import resize_images
from model.download import download_file, unpack_files
from model.examples import DataError, Examples, SourceSplit, SplitName

FOLDER_NAME = "cifar-10-batches-py"


@dataclass(frozen=True)
class Release:
    """The URL of an archive of pickled batches, its md5, and the md5 of each file in it by name."""

    url: str
    md5: str
    batches: Mapping[SplitName, Mapping[str, str]]
    meta: Mapping[str, str]

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of all files in the archive."""
        return (*self.batches["train"], *self.batches["test"], *self.meta)


def official_release() -> Release:
    """The archive that torchvision downloads."""
    from torchvision.datasets import CIFAR10  # takes seconds, which other sources should not wait for

    return Release(
        url=CIFAR10.url,
        md5=CIFAR10.tgz_md5,
        batches={"train": dict(CIFAR10.train_list), "test": dict(CIFAR10.test_list)},
        meta={CIFAR10.meta["filename"]: CIFAR10.meta["md5"]},
    )


def is_on_disk(data_dir: Path) -> bool:
    """Whether torchvision's folder exists, complete or not."""
    return (data_dir / FOLDER_NAME).is_dir()


def read_cifar10(
    data_dir: Path, split: SplitName, *, image_size: int | None, release: Release | None = None
) -> SourceSplit:
    """Read one split, 32x32 or resized to image_size pixels. Downloads the archive if the folder is missing.

    Reading "train" also verifies the checksums of the test batches, so that a run does not end on damaged ones, but
    does not unpack them. Reading "test" does not open the training batches. DataError if the download fails, or if a
    file is missing or differs from the published one.
    """
    release = release or official_release()
    if not is_on_disk(data_dir):
        download_cifar10(data_dir, release)
    folder = data_dir / FOLDER_NAME
    if split == "train":
        for name, md5 in release.batches["test"].items():
            _read_published(folder / name, md5)
    (meta,) = (_load_pickle(folder / name, md5) for name, md5 in release.meta.items())
    batches = [_load_pickle(folder / name, md5) for name, md5 in release.batches[split].items()]
    rows = np.concatenate([batch["data"] for batch in batches])
    images = np.ascontiguousarray(rows.reshape(len(rows), 3, 32, 32).transpose(0, 2, 3, 1))
    labels = np.concatenate([np.asarray(batch["labels"], dtype=np.int64) for batch in batches])
    return SourceSplit(Examples(resize_images(images, image_size or 32), labels), tuple(meta["label_names"]))


def download_cifar10(data_dir: Path, release: Release, *, timeout_s: float = 10.0) -> None:
    """Download torchvision's folder into data_dir, completely or not at all. DataError says why it failed."""
    with download_file(release.url, data_dir, md5=release.md5, timeout_s=timeout_s) as archive:
        unpack_files(archive, data_dir / FOLDER_NAME, release.file_names)


def _read_published(path: Path, md5: str) -> bytes:
    advice = f"Delete {path.parent} to download it again."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). {advice}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path} is not the published file: it is truncated or changed. {advice}")
    return content


def _load_pickle(path: Path, md5: str) -> dict[str, Any]:
    content = _read_published(path, md5)  # only the published file is ever unpickled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2 warns about how numpy 1 pickled arrays
        batch: dict[str, Any] = pickle.loads(content, encoding="latin1")
    return batch
