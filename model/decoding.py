"""Encoded images to one uint8 array: decoded once, converted to RGB, resized to one size."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.examples import DataError, one_line

LARGEST_NATIVE_SIZE = 64
"""Largest side, in pixels, that is kept without --image-size; the networks are made for small images."""
_CHUNK = 256


class EncodedImage(NamedTuple):
    """An image before decoding: its name for error messages, and its bytes or its file."""

    name: str
    content: bytes | Path


def decode_images(encoded: Sequence[EncodedImage], *, image_size: int | None) -> NDArray[np.uint8]:
    """Decode to (N, S, S, 3) uint8, where S is image_size in pixels, or the side all images share if it is None.

    Other sizes and aspect ratios are resized bilinearly with antialiasing. `encoded` must not be empty. DataError
    names an unreadable file. If image_size is None, DataError asks for --image-size when images differ in size, are
    not square, or are larger than 64 pixels.
    """
    side = _native_size(encoded[0]) if image_size is None else image_size
    images = np.empty((len(encoded), side, side, 3), dtype=np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + _CHUNK, len(encoded))):
            image = _read_rgb(encoded[index])
            if image.size != (side, side):
                if image_size is None:
                    raise _size_error(encoded[0].name, (side, side), encoded[index].name, image.size)
                image = image.resize((side, side), Image.Resampling.BILINEAR)
            images[index] = np.asarray(image)

    # Pillow releases the interpreter lock: threads speed up photographs and make no difference to 32x32 images.
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for _ in pool.map(fill, range(0, len(encoded), _CHUNK)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # a bad file or Ctrl-C stops without decoding the rest
    return images


def read_images(paths: Sequence[Path], *, image_size: int) -> NDArray[np.uint8]:
    """Image files of any size to (N, image_size, image_size, 3) uint8; DataError names a file that is not an image."""
    for path in paths:
        if not path.is_file():
            fault = "is a folder" if path.is_dir() else "does not exist"
            raise DataError(f"{path} {fault}. Give image files.")
    return decode_images([EncodedImage(str(path), path) for path in paths], image_size=image_size)


def resize_images(images: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) to (N, image_size, image_size, 3), bilinear, antialiased; the same array if the size is right."""
    if images.shape[1:3] == (image_size, image_size):
        return images
    size = (image_size, image_size)
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images])


def _read_rgb(encoded: EncodedImage) -> Image.Image:
    content = io.BytesIO(encoded.content) if isinstance(encoded.content, bytes) else encoded.content
    try:
        with Image.open(content) as image:
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit values at 255 instead of scaling them
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode == "P":  # converting directly to RGB, Pillow warns about transparency
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, struct.error, ...
        raise DataError(
            f"{encoded.name} cannot be read as an image ({one_line(error)}). Replace or remove it."
        ) from error


def _native_size(encoded: EncodedImage) -> int:
    width, height = _read_rgb(encoded).size
    if width != height or width > LARGEST_NATIVE_SIZE:
        fault = "is not square" if width != height else f"is larger than {LARGEST_NATIVE_SIZE} pixels"
        raise DataError(
            f"{encoded.name} {fault} ({width}x{height}). Pass --image-size, for instance 32, to resize all images."
        )
    return width


def _size_error(first: str, first_size: tuple[int, int], other: str, other_size: tuple[int, int]) -> DataError:
    sizes = f"{first} is {first_size[0]}x{first_size[1]}, {other} is {other_size[0]}x{other_size[1]}"
    return DataError(f"images differ in size: {sizes}. Pass --image-size, for instance 32, to resize all images.")
