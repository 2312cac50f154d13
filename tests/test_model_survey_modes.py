"""How pixels of every mode are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import RANDOM, load_test, load_train, random_image, survey, write_mode, write_splits
from PIL import Image

from model.data import DataError


@pytest.mark.parametrize(("mode", "kind"), [("I", np.int32), ("F", np.float32)])
def test_numbers_of_32_bits_are_refused(tmp_path: Path, mode: str, kind: type) -> None:
    write_mode(tmp_path, [Image.fromarray((random_image()[..., 0].astype(kind) * 257).astype(kind))] * 2, ".tif")
    with pytest.raises(DataError) as caught:
        survey(tmp_path)
    words = f"4 images cannot be read (mode {mode}, numbers of 32 bits without a known range"
    assert str(caught.value).count(words) == 2
    for split in ("train", "test"):
        assert all(f"{split}/{name}/{index}.tif" in str(caught.value) for name in ("cat", "dog") for index in (0, 1))


def test_16_bit_numbers_are_divided(tmp_path: Path) -> None:
    grey = random_image()[..., 0]
    write_mode(tmp_path, [Image.fromarray(grey.astype(np.uint16) * 257)] * 2)
    assert np.array_equal(load_train(tmp_path).examples.images[0], np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("colour", [0, 255])
def test_drawings_in_the_alpha_channel_are_seen(tmp_path: Path, colour: int) -> None:
    alpha = RANDOM.integers(0, 2, (8, 8)).astype(np.uint8) * 255
    icon = Image.new("RGBA", (8, 8), (colour, colour, colour, 0))
    icon.putalpha(Image.fromarray(alpha))
    write_mode(tmp_path, [icon, icon])
    expected = np.where(alpha == 255, colour, 128)
    assert np.array_equal(load_train(tmp_path).examples.images[0, :, :, 1], expected)
    assert np.array_equal(load_test(tmp_path).images[0, :, :, 1], expected)


def test_an_alpha_channel_that_hides_everything_is_ignored(tmp_path: Path) -> None:
    pixels = random_image()
    image = Image.fromarray(pixels).convert("RGBA")
    image.putalpha(0)
    write_mode(tmp_path, [image, image])
    assert np.array_equal(load_train(tmp_path).examples.images[0], pixels)


def test_a_transparent_palette_is_composed_over_grey(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1] * 4] * 8, dtype=np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 10, 10])
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=0)
    write_splits(tmp_path)
    (tmp_path / "train" / "cat" / "!.png").write_bytes(stream.getvalue())
    assert load_train(tmp_path).examples.images[0, 0, :2].tolist() == [[128, 128, 128], [200, 10, 10]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_tag_says(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 16, 3), dtype=np.uint8)
    upright[:8, :8], upright[:8, 8:], upright[8:, :8] = 250, 170, 90
    # How the camera stores the picture, from the EXIF standard: the place of its first row and first column.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for index, suffix in enumerate((".jpg", ".png", ".tif")):
                options: dict[str, Any] = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
                path = tmp_path / split / name / f"{index}{suffix}"
                Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    for image in load_train(tmp_path).examples.images:
        assert np.abs(image.astype(int) - upright).max() <= 3
