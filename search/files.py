"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""The numbers of errors that come from the disk."""


@contextlib.contextmanager
def replaced_atomically(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """A temporary file beside `path` to write to; it replaces `path` at the end of the block, unless that fails.

    `suffix`: how its name must end, if the writer cares. Results are as readable as the folder they are in.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=suffix)
    temporary = Path(name)
    try:
        try:
            yield temporary
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_text(path: Path) -> str:
    """A text file in UTF-8, whatever the locale, with or without a byte order mark."""
    return path.read_text(encoding="utf-8-sig")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file, text in UTF-8; the old one stays until the new one is complete."""
    with replaced_atomically(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
