"""Decoding against the pixels that were encoded, resizing against torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import encode_png, random_image
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from model.data import DataError
from model.decoding import EncodedImage, decode_images


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    grey = np.repeat(random_image()[..., :1], 3, axis=2)
    if mode == "1":
        grey = np.where(grey > 127, 255, 0).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("L").convert(mode)
    path = tmp_path / "image.tiff"
    image.save(path)
    decoded = decode_images([EncodedImage("image", path)], image_size=None)
    assert decoded.shape == (1, 8, 8, 3)
    assert np.array_equal(decoded[0], grey)


def test_mixed_sizes_are_resized_as_torchvision_does() -> None:
    originals = [random_image(50), random_image(20)]
    encoded = [EncodedImage(name, encode_png(image)) for name, image in zip("ab", originals, strict=True)]
    with pytest.raises(DataError, match=r"images differ in size: a is 50x50, b is 20x20\. Pass --image-size"):
        decode_images(encoded, image_size=None)
    for image, original in zip(decode_images(encoded, image_size=32), originals, strict=True):
        resized = tv.resize(torch.from_numpy(original).permute(2, 0, 1), [32, 32], antialias=True)
        expected = resized.permute(1, 2, 0).numpy()
        assert np.abs(image.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("shape", "fault"), [((65, 65), r"is larger than 64 pixels \(65x65\)"), ((8, 9), r"is not square \(9x8\)")]
)
def test_images_that_need_a_size_ask_for_it(shape: tuple[int, int], fault: str) -> None:
    content = encode_png(np.zeros((*shape, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=rf"photo {fault}\. Pass --image-size, for instance 32"):
        decode_images([EncodedImage("photo", content)], image_size=None)
    assert decode_images([EncodedImage("photo", content)], image_size=32).shape == (1, 32, 32, 3)
