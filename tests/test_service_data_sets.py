"""Archives of data sets: good ones are taken in and checked, bad ones refused without a trace."""

from __future__ import annotations

import contextlib
import errno
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from image_files import write_image_folder

from search.service.data_sets import DataSets, unpack
from search.service.runs import Refused
from search.service.store import Store

LIMIT = 1_000_000


def zip_of(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def sized(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def linking_zip(path: Path) -> Path:
    entry = zipfile.ZipInfo("cat/x.png")
    entry.external_attr = 0o120777 << 16
    return _write_zip(path, entry, b"/etc/passwd")


def _write_zip(path: Path, entry: zipfile.ZipInfo, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content)
    return path


def lying_zip(path: Path) -> Path:
    """A bomb whose index says that it holds a single byte."""
    zip_of(path, ("cat/x.png", b"\0" * 10 * LIMIT))
    content = path.read_bytes()
    size = (10 * LIMIT).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (1).to_bytes(4, "little")))
    return path


BAD: dict[str, tuple[Callable[[Path], Path], int]] = {
    "path up": (lambda path: zip_of(path, ("../x.png", b"1")), 422),
    "path up inside": (lambda path: zip_of(path, ("cat/../../x.png", b"1")), 422),
    "absolute": (lambda path: zip_of(path, ("/tmp/x.png", b"1")), 422),
    "windows": (lambda path: zip_of(path, ("C:\\x.png", b"1")), 422),
    "backslashes": (lambda path: zip_of(path, ("cat\\..\\..\\x.png", b"1")), 422),
    "symlink in a zip": (linking_zip, 422),
    "symlink": (lambda path: tar_of(path, link("cat", "/etc")), 422),
    "hard link": (lambda path: tar_of(path, link("cat/x.png", "../../secret", tarfile.LNKTYPE)), 422),
    "device": (lambda path: tar_of(path, link("cat/x.png", "", tarfile.CHRTYPE)), 422),
    "file through a link": (lambda path: tar_of(path, link("cat", ".."), sized("cat/x.png", 1)), 422),
    "bomb": (lambda path: zip_of(path, ("cat/x.png", b"\0" * 2 * LIMIT)), 413),
    "bomb in parts": (lambda path: zip_of(path, *((f"cat/{n}.png", b"\0" * 300_000) for n in range(5))), 413),
    "bomb that lies": (lying_zip, 422),
    "twice": (lambda path: tar_of(path, sized("cat/x.png", 1), sized("cat/x.png", 2)), 422),
    "no archive": (lambda path: (path.write_bytes(b"hello") and path) or path, 422),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_refused_and_writes_nothing_elsewhere(tmp_path: Path, case: str) -> None:
    make, status = BAD[case]
    (tmp_path / "secret").write_text("secret")
    archive, folder = make(tmp_path / "archive"), tmp_path / "in" / "images"
    folder.parent.mkdir()
    with pytest.raises(Refused) as refusal:
        unpack(archive, folder, max_bytes=LIMIT)
    assert refusal.value.status == status
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "in", "secret"]
    assert [path.name for path in folder.parent.iterdir()] == ["images"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= LIMIT + 1


def archive_of(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="my images")
    return path


@pytest.fixture
def data_sets(tmp_path: Path) -> DataSets:
    (tmp_path / "datasets").mkdir()
    return DataSets(tmp_path / "datasets", Store(tmp_path / "service.db"), max_bytes=10 * LIMIT)


@contextlib.contextmanager
def uploaded(data_sets: DataSets, name: str) -> Iterator[Path]:
    """The folder of an upload, removed as the service does."""
    folder = data_sets.begin(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_an_archive_is_taken_in_as_inspect_reads_it(data_sets: DataSets, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "photos", num_images=12)
    with uploaded(data_sets, "photos") as folder:
        archive_of(tmp_path / "photos", folder / "archive")
        taken = data_sets.take_in("photos", "ada", folder)
    assert data_sets.listed() == [taken]
    assert taken["owner"] == "ada"
    assert "training" in str(taken["survey"])
    assert (tmp_path / "datasets" / "photos" / "train").is_dir()
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["photos"]
    with pytest.raises(Refused, match="photos already"):
        data_sets.begin("photos")


@pytest.mark.parametrize(
    "beside",
    ["__MACOSX/pets/cat/._1.png", ".DS_Store", "pets/.DS_Store", "pets/cat/.DS_Store", "README.txt", "pets/README.txt"],
)
@pytest.mark.parametrize("above", ["", "export/", "export/2026/"])
def test_what_is_no_image_beside_a_folder_hides_it_from_nobody(
    data_sets: DataSets, monkeypatch: pytest.MonkeyPatch, beside: str, above: str, tmp_path: Path
) -> None:
    monkeypatch.setattr("search.service.data_sets._inspect", lambda folder: [folder.name])
    with uploaded(data_sets, "photos") as folder:
        images = ((f"{above}pets/cat/1.png", b"1"), (f"{above}pets/dog/1.png", b"1"))
        zip_of(folder / "archive", (f"{above}{beside}", b"junk"), *images)
        assert data_sets.take_in("photos", "ada", folder)["survey"] == ["pets"]
    assert {path.name for path in (tmp_path / "datasets" / "photos").iterdir() if path.is_dir()} == {"cat", "dog"}


@pytest.mark.parametrize("beside", ["1.png", "birds/1.png", "pets/train.parquet", "train/part/0.parquet"])
def test_an_archive_of_more_than_a_folder_is_kept_as_it_is(
    data_sets: DataSets, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setattr("search.service.data_sets._inspect", lambda folder: [folder.name])
    with uploaded(data_sets, "photos") as folder:
        zip_of(folder / "archive", (beside, b"1"), ("pets/cat/1.png", b"1"))
        assert data_sets.take_in("photos", "ada", folder)["survey"] == ["images"]


@pytest.mark.slow
def test_of_two_uploads_of_a_name_the_second_changes_nothing(data_sets: DataSets, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "photos", num_images=12)
    with uploaded(data_sets, "photos") as first, uploaded(data_sets, "photos") as second:
        for folder in (first, second):
            archive_of(tmp_path / "photos", folder / "archive")
        taken = data_sets.take_in("photos", "ada", first)
        with pytest.raises(Refused, match="photos already"):
            data_sets.take_in("photos", "bob", second)
    assert data_sets.listed() == [taken]


@pytest.mark.slow
def test_an_archive_without_images_is_refused_with_inspects_words(data_sets: DataSets, tmp_path: Path) -> None:
    with uploaded(data_sets, "empty") as folder:
        zip_of(folder / "archive", ("cat/readme.txt", b"no image"), ("dog/readme.txt", b"no image"))
        with pytest.raises(Refused) as refusal:
            data_sets.take_in("empty", "ada", folder)
    assert refusal.value.status == 422
    assert str(tmp_path) not in str(refusal.value)
    assert list((tmp_path / "datasets").iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "digits", "x" * 81, "a\0b"])
def test_a_bad_name_is_refused(data_sets: DataSets, name: str) -> None:
    with pytest.raises(Refused, match=r"name must be|that the program brings"):
        data_sets.begin(name)


def test_damaged_contents_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "archive", ("a/x.png", bytes(range(256)) * 40))
    with zipfile.ZipFile(archive) as opened:
        start = opened.infolist()[0].header_offset + 30 + len("a/x.png")
    content = bytearray(archive.read_bytes())
    content[start : start + 8] = b"\xff" * 8
    archive.write_bytes(content)
    with pytest.raises(Refused) as refusal:
        unpack(archive, tmp_path / "images", max_bytes=LIMIT)
    assert (refusal.value.status, "error" in str(refusal.value)) == (422, True)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "archive", ("cat/é.png", b"1"))
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(Refused) as refusal:
        unpack(archive, tmp_path / "images", max_bytes=LIMIT)
    assert (refusal.value.status, "UnicodeDecodeError" in str(refusal.value)) == (422, True)


def test_a_size_below_nothing_is_refused(tmp_path: Path) -> None:
    header = bytearray(sized("cat/x.png", 5).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(-5, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b"%06o\0 " % (8 * ord(" ") + sum(header[:148]) + sum(header[156:]))
    (tmp_path / "archive").write_bytes(bytes(header) + bytes(2048))
    with pytest.raises(Refused) as refusal:
        unpack(tmp_path / "archive", tmp_path / "images", max_bytes=LIMIT)
    assert refusal.value.status == 422


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("search.service.data_sets._copy", full)
    with pytest.raises(Refused, match="No space left on device") as refusal:
        unpack(zip_of(tmp_path / "archive", ("a/x.png", b"1")), tmp_path / "images", max_bytes=LIMIT)
    assert refusal.value.status == 507
