"""Encoded images to one uint8 array: decoded once, turned upright, converted to RGB, resized to one size."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model.examples import DataError, Reading, one_line

LARGEST_NATIVE_SIZE = 64
"""Largest side, in pixels, that is kept without --image-size; the networks are made for small images."""
_CHUNK = 256
_NUM_NAMED = 200
"""Unreadable images that an error names for each reason."""
_BACKGROUND = (128, 128, 128)
"""Transparent images are composed over grey, on which black and white drawings both show."""


class EncodedImage(NamedTuple):
    """An image before decoding: its name for error messages, and its bytes or its file; None if it has none."""

    name: str
    content: bytes | Path | None


class Decoded(NamedTuple):
    """Decoded images (N, S, S, 3) uint8, and the index of each in the list that was read."""

    images: NDArray[np.uint8]
    indices: NDArray[np.int64]


class _Unreadable(Exception):
    """The reason why one image cannot be read."""


def decode_all(
    encoded: Sequence[EncodedImage], reading: Reading, *, image_size: int | None, skip_unreadable: bool = False
) -> Decoded:
    """Decode to squares of image_size pixels, or of the side that all images share if it is None.

    Other sizes and aspect ratios are resized bilinearly with antialiasing. Everything is read before anything is
    refused: DataError names all unreadable images, unless `skip_unreadable` leaves them out; sizes and modes are
    counted in `reading`. If image_size is None, DataError asks for --image-size when images differ in size, are not
    square, or are larger than 64 pixels. `encoded` must not be empty.
    """
    images: NDArray[np.uint8] | None = None
    is_kept = np.zeros(len(encoded), dtype=bool)
    first: tuple[str, tuple[int, int]] | None = None
    size_error: DataError | None = None
    side = image_size or 0
    for index, answer in enumerate(_read_in_threads(encoded, image_size)):
        name = encoded[index].name
        if isinstance(answer, _Unreadable):
            reading.unreadable[name] = str(answer)
            continue
        pixels, size, mode = answer
        reading.sizes[f"{size[0]}x{size[1]}"] += 1
        reading.modes[mode] += 1
        if first is None:
            first = (name, size)
            side = image_size or size[0]
            size_error = None if image_size else _native_size_error(name, size)
        if image_size is None and size != first[1]:
            size_error = size_error or _size_error(first, (name, size))
        if size_error is None:
            if images is None:
                images = np.empty((len(encoded), side, side, 3), dtype=np.uint8)
            images[index], is_kept[index] = pixels, True
    _refuse(reading, size_error, is_any_readable=first is not None, skip_unreadable=skip_unreadable)
    assert images is not None
    return Decoded(images if is_kept.all() else images[is_kept], np.flatnonzero(is_kept))


def decode_images(encoded: Sequence[EncodedImage], *, image_size: int | None) -> NDArray[np.uint8]:
    """The images of `decode_all`, every one of them."""
    return decode_all(encoded, Reading(), image_size=image_size).images


def read_images(
    paths: Sequence[Path], *, image_size: int, skip_unreadable: bool = False, reading: Reading | None = None
) -> Decoded:
    """Image files of any size as squares. DataError names every file that is not an image, as in `decode_all`."""
    encoded = [EncodedImage(str(path), path) for path in paths]
    return decode_all(encoded, reading or Reading(), image_size=image_size, skip_unreadable=skip_unreadable)


def resize_images(images: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) to (N, image_size, image_size, 3), bilinear, antialiased; the same array if the size is right."""
    if images.shape[1:3] == (image_size, image_size):
        return images
    size = (image_size, image_size)
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images])


_Answer = tuple[NDArray[np.uint8], tuple[int, int], str] | _Unreadable
"""An image's pixels, its size before resizing and its mode, or why it cannot be read."""


def _read_in_threads(encoded: Sequence[EncodedImage], image_size: int | None) -> Iterator[_Answer]:
    """An answer for each image, in order."""

    def read_chunk(start: int) -> list[_Answer]:
        return [_read(one, image_size) for one in encoded[start : start + _CHUNK]]

    # Pillow releases the interpreter lock: threads speed up photographs and make no difference to 32x32 images.
    num_threads = min(8, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(max_workers=num_threads)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata; nobody could find the file by them
            # In parts, so that the answers waiting for the array stay few.
            for start in range(0, len(encoded), 2 * num_threads * _CHUNK):
                stop = min(len(encoded), start + 2 * num_threads * _CHUNK)
                for answers in pool.map(read_chunk, range(start, stop, _CHUNK)):
                    yield from answers
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C stops without decoding the rest


def _read(encoded: EncodedImage, image_size: int | None) -> _Answer:
    try:
        image, mode = _read_rgb(encoded)
    except _Unreadable as error:
        return error
    size = image.size
    if image_size is not None and size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image), size, mode


def _read_rgb(encoded: EncodedImage) -> tuple[Image.Image, str]:
    """The image in RGB, turned as its EXIF tag says, and the mode it was stored in."""
    if encoded.content is None:
        raise _Unreadable("it has no bytes")
    content = io.BytesIO(encoded.content) if isinstance(encoded.content, bytes) else encoded.content
    try:
        with Image.open(content) as image:
            image.load()
            with contextlib.suppress(Exception):  # a damaged tag counts as none
                ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image), image.mode
    except _Unreadable:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, struct.error, ...
        raise _Unreadable(_reason(encoded.content, error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit values at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _Unreadable(f"mode {image.mode}, numbers of 32 bits without a known range; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (0, 0):  # an alpha channel that nobody filled hides nothing
        return rgba.convert("RGB")
    composed = Image.new("RGB", image.size, _BACKGROUND)
    composed.paste(rgba, mask=rgba.getchannel("A"))
    return composed


def _reason(content: bytes | Path, error: BaseException) -> str:
    """What is wrong with an image that Pillow cannot read."""
    if isinstance(content, Path):
        if content.is_dir() or not content.exists():
            return "it is a folder" if content.is_dir() else "it does not exist"
        try:
            with content.open("rb") as file:
                start = file.read(64)
        except OSError as refusal:
            return refusal.strerror or one_line(refusal)
    else:
        start = content[:64]
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: run git lfs pull"
    return "it is in no known format" if isinstance(error, UnidentifiedImageError) else one_line(error)


def _refuse(reading: Reading, size_error: DataError | None, *, is_any_readable: bool, skip_unreadable: bool) -> None:
    """Raises the error for what was read."""
    lines: list[str] = []
    if not skip_unreadable or not is_any_readable:
        lines = unreadable_lines(reading.unreadable)
    if lines and is_any_readable:
        num = len(reading.unreadable)
        which, them = ("1 image", "it") if num == 1 else (f"{num:,} images", "them")
        lines.append(f"{which} cannot be read. To leave {them} out: --skip-unreadable.")
    if size_error is not None:
        lines.append(str(size_error))
    if lines:
        raise DataError("\n".join(lines))


def unreadable_lines(unreadable: Mapping[str, str]) -> list[str]:
    """A line for each reason why images cannot be read, with their names."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in unreadable.items():
        by_reason.setdefault(reason, []).append(name)
    lines = []
    for reason, names in by_reason.items():
        if len(names) == 1:
            lines.append(f"{names[0]} cannot be read as an image ({reason}). Replace or remove it.")
            continue
        more = f" and {len(names) - _NUM_NAMED:,} more" if len(names) > _NUM_NAMED else ""
        named = f"{', '.join(names[:_NUM_NAMED])}{more}"
        lines.append(f"{len(names):,} images cannot be read ({reason}): {named}. Replace or remove them.")
    return lines


def _native_size_error(name: str, size: tuple[int, int]) -> DataError | None:
    width, height = size
    if width == height <= LARGEST_NATIVE_SIZE:
        return None
    fault = "is not square" if width != height else f"is larger than {LARGEST_NATIVE_SIZE} pixels"
    return DataError(f"{name} {fault} ({width}x{height}). Pass --image-size, for instance 32, to resize all images.")


def _size_error(*images: tuple[str, tuple[int, int]]) -> DataError:
    sizes = ", ".join(f"{name} is {width}x{height}" for name, (width, height) in images)
    return DataError(f"images differ in size: {sizes}. Pass --image-size, for instance 32, to resize all images.")
