"""Data sets of a service: folders in --datasets-dir, and archives that are unpacked, checked and moved there."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from model.image_files import has_images, sub_folders
from search.files import DISK_ERRORS
from search.run_options import DATA_SETS
from search.service.runs import Refused
from search.service.store import Store
from search.service.submission import DATASET_PATTERN
from search.text import size_text

MAX_FILES = 2_000_000
INSPECT_TIMEOUT_S = 1800.0
_CHUNK = 1 << 20
_INCOMING = ".incoming-"


class _Member(NamedTuple):
    """A file in an archive."""

    name: str
    size: int
    content: IO[bytes]


class DataSets:
    """The folder of data sets."""

    def __init__(self, folder: Path | None, store: Store, *, max_bytes: int) -> None:
        """`max_bytes`: of an uploaded archive, and of what it holds."""
        self._folder, self._store, self.max_bytes = folder, store, max_bytes
        self._inspecting = threading.Lock()
        for abandoned in folder.glob(f"{_INCOMING}*") if folder else ():
            shutil.rmtree(abandoned, ignore_errors=True)

    def listed(self) -> list[dict[str, object]]:
        """The data sets by name, each with its owner and what `inspect` said, if it was uploaded."""
        known = {row["name"]: row for row in self._store.execute("SELECT * FROM datasets")}
        found = sorted(path.name for path in self._folder.iterdir() if path.is_dir()) if self._folder else []
        return [
            {
                "name": name,
                "owner": known[name]["owner"] if name in known else "",
                "survey": known[name]["survey"].splitlines() if name in known else [],
            }
            for name in found
            if DATASET_PATTERN.fullmatch(name)
        ]

    @property
    def can_upload(self) -> bool:
        """Whether there is a folder for data sets."""
        return self._folder is not None

    def begin(self, name: str) -> Path:
        """A new folder beside the data sets for an upload; the caller removes it. Refused if the name is taken."""
        if self._folder is None:
            raise Refused(409, "this service was started without --datasets-dir, so it takes no data sets.")
        if name in DATA_SETS:
            raise Refused(409, f"{name} is a data set that the program brings. Give another name.")
        if not DATASET_PATTERN.fullmatch(name):
            raise Refused(422, "a data set's name must be letters, digits, dots, dashes, underscores or spaces.")
        if (self._folder / name).exists():
            raise Refused(409, f"there is a data set {name} already. Give another name.")
        if shutil.disk_usage(self._folder).free < 2 * self.max_bytes:
            raise Refused(507, f"less than {size_text(2 * self.max_bytes)} are free on the disk for data sets.")
        return Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self._folder))

    def take_in(self, name: str, owner: str, incoming: Path) -> dict[str, object]:
        """Unpacks `archive` in the folder of an upload, checks it as the command line does, and keeps it.

        Refused, with a line for each problem, if it is not an archive, leaves its folder, is too large or lacks images.
        """
        assert self._folder is not None
        unpacked = incoming / "images"
        unpack(incoming / "archive", unpacked, max_bytes=self.max_bytes)
        unpacked = _folder_of_classes(unpacked)
        with self._inspecting:  # one at a time: it takes memory and cores from the runs
            survey = _inspect(unpacked)
        unpacked.chmod(0o755)
        try:
            unpacked.rename(self._folder / name)
        except OSError:
            raise Refused(409, f"there is a data set {name} already. Give another name.") from None
        self._store.execute("INSERT OR REPLACE INTO datasets VALUES (?, ?, ?)", name, owner, "\n".join(survey))
        return {"name": name, "owner": owner, "survey": survey}


def _folder_of_classes(folder: Path) -> Path:
    """The folder below those that hold one other each and no images; texts and hidden files beside it do not count.

    Parquet files are found at any depth, and the folders above them may be named after splits.
    """
    if any(folder.rglob("*.parquet")):
        return folder
    while not has_images(folder) and len(found := sub_folders(folder, Counter())) == 1 and not has_images(found[0]):
        folder = found[0]
    return folder


_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
    EOFError, RuntimeError, OSError, ValueError,
)  # fmt: skip
"""What is raised for an archive that is cut off, encrypted, packed in an unknown way, or has one name twice, names that
are no text or sizes below 0."""


def unpack(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """The files of a zip or tar in a new folder. Refused for links, paths out of it, and too many or large files."""
    folder.mkdir()
    num_files = num_bytes = 0
    try:
        for member in _members(archive):
            path = _inside(folder, member.name)
            num_files, num_bytes = num_files + 1, num_bytes + member.size
            if num_files > MAX_FILES or num_bytes > max_bytes:
                raise Refused(413, f"the archive holds more than {size_text(max_bytes)} or {MAX_FILES:,} files.")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                _copy(member, target)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise Refused(507, f"the service cannot write the data set ({error.strerror}). Ask for room.") from None
        raise Refused(422, f"the archive cannot be unpacked ({type(error).__name__}). Make it again.") from None


def _copy(member: _Member, target: IO[bytes]) -> None:
    """As many bytes as the archive said before, or it is refused: a bomb says less than it holds."""
    left = member.size
    while part := member.content.read(min(_CHUNK, left + 1)):
        left -= len(part)
        if left < 0:
            raise Refused(422, f"{member.name[:200]!r} in the archive is larger than the archive says.")
        target.write(part)


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                kind = entry.external_attr >> 28
                if kind not in (0, 0o4, 0o10):
                    raise Refused(422, f"{entry.filename[:200]!r} in the archive is a link. Put files into it.")
                if not entry.is_dir():
                    with opened.open(entry) as content:
                        yield _Member(entry.filename, entry.file_size, content)
        return
    if not tarfile.is_tarfile(archive):
        what = "neither a zip nor a tar" if archive.stat().st_size else "empty"
        raise Refused(422, f"what was sent is {what}. Pack the folder of images as a zip or tar.")
    with tarfile.open(archive) as packed:
        for member in packed:
            if member.isdir():
                continue
            unpacked = packed.extractfile(member) if member.isreg() else None
            if unpacked is None:
                raise Refused(422, f"{member.name[:200]!r} in the archive is a link or a device. Put files into it.")
            yield _Member(member.name, member.size, unpacked)


def _inside(folder: Path, name: str) -> Path:
    """The place of a file below a folder. Refused for a name that leads out of it."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    is_safe = parts and not any(part in ("..", "/") or part[1:2] == ":" or "\0" in part for part in parts)
    if not is_safe:
        raise Refused(422, f"{name[:200]!r} in the archive leads out of its folder.")
    return folder.joinpath(*parts)


def _inspect(folder: Path) -> list[str]:
    """What the command line says of a folder of images; Refused with its errors. A separate process reads them."""
    program = find_spec("tune_main")
    assert program is not None
    assert program.origin is not None
    words = [sys.executable, program.origin, "inspect", str(folder), "--image-size", "32"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=INSPECT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Refused(422, f"reading the images took more than {INSPECT_TIMEOUT_S:.0f} s.") from None
    said = (done.stdout + done.stderr).replace(f"{folder}/", "").replace(str(folder), "the archive").splitlines()
    if done.returncode != 0:
        lines = [line.partition(": error: ")[2] for line in said if ": error: " in line]
        advice = r"Replace or remove \1 and send the archive again"
        refusal = re.sub("To leave (it|them) out: --skip-unreadable", advice, "\n".join(lines))
        raise Refused(422, refusal or "the images cannot be read.")
    return said
