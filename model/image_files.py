"""Finds the image files below a folder, and counts what it passes over."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

from PIL import Image

from model.examples import DataError, shown

_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""Pillow's formats of pictures; it also opens films and documents."""
_SYSTEM_FOLDERS = (
    "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled", "recycle bin", "lost+found", "__macosx",
    "__pycache__", "system volume information", "network trash folder", "temporary items", "picasa originals",
    "thumbnail", "thumbnails", "_thumbs", "_thumbnails",
)  # fmt: skip
"""Folders that systems, network disks and programs put beside pictures, in lower case; @eaDir and its like as well."""
_COPIES = ("thumb", "thumbs", "trash", "deleted", "deleted items")
"""Below a class folder these hold small or discarded copies; a class itself may be called trash."""
_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini")
HIDDEN, COPIES, DANGLING, LOOP = "hidden", "thumbnails or trash", "dangling links", "links to folders read already"
OUTSIDE, NO_FILE = "outside the class folders", "neither file nor folder"


@cache
def image_suffixes() -> frozenset[str]:
    """Suffixes of the image files that are read, in lower case, such as .jpg."""
    known = Image.registered_extensions()
    return frozenset(
        {".pjpeg", ".pjp", *(suffix for suffix, name in known.items() if name in _FORMATS and name in Image.OPEN)}
    )


def sub_folders(folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The folders of classes or splits in a folder, by name; hidden ones are counted."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda one: one.name):
        reason = _reason_for_folder(path.name, is_class=True)
        if not path.is_dir():
            if path.is_symlink() and not path.exists():
                passed_over[DANGLING] += 1
        elif reason is not None:
            passed_over[reason] += num_files(path)
        else:
            found.append(path)
    return found


def has_images(folder: Path) -> bool:
    """Whether a folder holds image files itself, dangling links included."""
    return any(is_image_name(path.name) and not path.is_dir() for path in folder.iterdir())


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in image_suffixes()


def images_below(folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The image files at any depth below a class folder, in name order. Links are followed, each folder read once."""
    images: list[Path] = []
    seen = {_identity(path) for path in (folder, *folder.resolve().parents)}
    for at, names, files in os.walk(folder, followlinks=True, onerror=_raise):
        here = Path(at)
        kept = []
        for name in sorted(names):
            reason = _reason_for_folder(name, is_class=False)
            identity = _identity(here / name)
            if reason is None and identity in seen:
                passed_over[LOOP] += 1
            elif reason is None:
                seen.add(identity)
                kept.append(name)
            else:
                passed_over[reason] += num_files(here / name)
        names[:] = kept
        for name in files:
            reason = _reason_for_file(here / name)
            if reason is None:
                images.append(here / name)
            else:
                passed_over[reason] += 1
    return sorted(images)


def num_files(folder: Path) -> int:
    """Files at any depth, links not followed."""
    return sum(len(files) for _at, _names, files in os.walk(folder))


def class_name(folder: Path) -> str:
    """The name of a class folder, read as UTF-8 whatever the locale, accents composed. DataError if it is not."""
    try:
        # macOS takes letters and accents apart, so a name may be written in two ways.
        return unicodedata.normalize("NFC", os.fsencode(folder.name).decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"the folder name {shown(folder)} is not UTF-8. Rename the folder.") from None


def _reason_for_folder(name: str, *, is_class: bool) -> str | None:
    lower = name.lower()
    if name.startswith("."):
        return HIDDEN
    if name.startswith("@") or lower in _SYSTEM_FOLDERS or (lower in _COPIES and not is_class):
        return COPIES
    return None


def _reason_for_file(path: Path) -> str | None:
    if path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES:
        return HIDDEN
    if not path.exists():
        return DANGLING
    if not is_image_name(path.name):
        return f"with an unknown suffix ({shown(path.suffix.lower())})" if path.suffix else "without a suffix"
    return None if path.is_file() else NO_FILE


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _raise(error: OSError) -> None:
    raise error
