"""Uploads through the client that are refused: the words say what to mend in the archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from image_files import write_image_folder
from served import served

from search.errors import UserError
from search.service import Client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(tmp_path_factory.mktemp("service")) as (url, _):
        yield Client(url)


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"hello\n" * 200, "is neither a zip nor a tar")])
def test_what_is_no_archive_is_told_so(client: Client, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "pets.zip").write_bytes(content)
    with pytest.raises(UserError, match=f"what was sent {words}"):
        client.upload("pets", tmp_path / "pets.zip")
    assert client.datasets() == []


@pytest.mark.slow
@pytest.mark.parametrize("num_broken", [1, 2])
def test_broken_images_are_named_with_advice_that_helps_an_upload(
    client: Client, tmp_path: Path, num_broken: int
) -> None:
    write_image_folder(tmp_path / "pets", num_images=12)
    broken = sorted((tmp_path / "pets").rglob("*.png"))[:num_broken]
    for path in broken:
        path.write_bytes(b"no image")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "pets")
    with pytest.raises(UserError) as refusal:
        client.upload("pets", archive)
    assert all(str(path.relative_to(tmp_path / "pets")) in str(refusal.value) for path in broken)
    which = (
        "2 images cannot be read. Replace or remove them"
        if num_broken == 2
        else "1 image cannot be read. Replace or remove it"
    )
    assert f"{which} and send the archive again." in str(refusal.value)
    assert "--" not in str(refusal.value)
