"""Download one archive without hanging and without leaving a partial file behind."""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.examples import DataError, one_line

_CHUNK_BYTES = 1 << 18
_LONGEST_S = 900.0
"""Time limit of a slow download in seconds: 170 MB at 190 kB/s."""


@contextmanager
def download_file(
    url: str, folder: Path, *, md5: str, timeout_s: float, longest_s: float = _LONGEST_S
) -> Iterator[Path]:
    """Yield the file at `url`, in a temporary folder inside `folder` that is deleted afterwards.

    DataError if nothing arrives for timeout_s seconds (including name look-up and connecting), if the download takes
    longer than longest_s seconds, if the md5 differs, or if `folder` cannot be written.
    """
    chunks = _fetch(url, timeout_s=timeout_s, longest_s=longest_s)
    first = next(chunks, b"")  # before creating anything: a server that does not answer leaves no trace
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".download-", dir=folder)
    except OSError as error:
        raise DataError(f"cannot download into {folder} ({one_line(error)}). Make it writable.") from error
    with temporary as name:
        path = Path(name) / "archive"
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with path.open("wb") as file:
                for chunk in itertools.chain([first], chunks):
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            raise DataError(f"cannot download into {folder} ({one_line(error)}). Free some space.") from error
        if digest.hexdigest() != md5:
            raise DataError(
                f"the download of {url} is incomplete or changed: md5 {digest.hexdigest()}, not {md5}. Try again."
            )
        yield path


def unpack_files(archive: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Unpack the files `names` into `folder`, which appears complete, by rename.

    The archive must hold them in a folder of the same name as `folder`. DataError if it does not, or if it is damaged
    or `folder` cannot be written.
    """
    unpacked = archive.with_name("unpacked")
    unpacked.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for name in names:
                member = tar.extractfile(f"{folder.name}/{name}")
                if member is None:
                    raise KeyError(f"{name} is not a file")
                (unpacked / name).write_bytes(member.read())
        os.rename(unpacked, folder)
    except (tarfile.TarError, KeyError, OSError) as error:
        raise DataError(f"could not unpack {folder} ({one_line(error)}). Free some space and try again.") from error


def _fetch(url: str, *, timeout_s: float, longest_s: float) -> Iterator[bytes]:
    """The bytes at `url` as they arrive; DataError as in `download_file`.

    A separate thread reads them, because no timeout applies to a name look-up that hangs.
    """
    chunks: queue.Queue[bytes | Exception] = queue.Queue()
    is_given_up = threading.Event()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as response:
                while not is_given_up.is_set():
                    chunk = response.read1(_CHUNK_BYTES)
                    chunks.put(chunk)
                    if not chunk:
                        return
        except Exception as error:
            chunks.put(error)

    threading.Thread(target=read, name="download", daemon=True).start()
    end = time.monotonic() + longest_s
    try:
        while time.monotonic() < end:
            chunk = chunks.get(timeout=timeout_s)
            if isinstance(chunk, Exception):
                raise _unreachable(url, one_line(chunk)) from chunk
            if not chunk:
                return
            yield chunk
        raise _unreachable(url, f"not finished after {longest_s:g} s")
    except queue.Empty:
        raise _unreachable(url, f"no answer within {timeout_s:g} s") from None
    finally:
        is_given_up.set()


def _unreachable(url: str, reason: str) -> DataError:
    return DataError(f"could not download {url} ({reason}). Check the network or choose another --dataset.")
