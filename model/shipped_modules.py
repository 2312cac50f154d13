"""Imports modules from source text: read from a folder and kept at first, later from what was kept."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import ClassVar


class ShippedModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the entry module before all others, and modules beside it only where no other has the name.

    A process has one at a time: the modules of an earlier one are forgotten.
    """

    _installed: ClassVar[ShippedModules | None] = None

    def __init__(
        self,
        *,
        root: Path | None,
        entry: str,
        entry_file: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """`root`: the folder to read; None for only what `files` (by path below it) has.

        `entry`: the top-level name of the builder's module. `entry_file`: its file, if that has another name.
        """
        self.files: dict[str, str] = dict(files or {})
        self._root, self._entry, self._entry_file = root, entry, entry_file
        self._beside = _Last(self)

    @classmethod
    def are_installed(cls, files: Mapping[str, str]) -> bool:
        """Whether this process already imports from just these files."""
        return cls._installed is not None and files.items() <= cls._installed.files.items()

    @classmethod
    def forget(cls) -> None:
        """The process imports from none any longer."""
        earlier, cls._installed = cls._installed, None
        if earlier is not None:
            sys.meta_path.remove(earlier)
            sys.meta_path.remove(earlier._beside)
            for name in [name for name, module in sys.modules.items() if _loader_of(module) is earlier]:
                del sys.modules[name]

    def install(self) -> None:
        """Takes the place of the process's earlier one."""
        self.forget()
        sys.meta_path.insert(0, self)
        sys.meta_path.append(self._beside)
        ShippedModules._installed = self

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The entry module and all below it."""
        return self.spec(fullname) if fullname.partition(".")[0] == self._entry else None

    def spec(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        """Any module of the folder."""
        place = self._place(fullname)
        if place is not None:
            is_package = place.endswith("__init__.py")
            return importlib.machinery.ModuleSpec(fullname, self, origin=place, is_package=is_package)
        folder = fullname.replace(".", "/")
        is_folder = any(file.startswith(f"{folder}/") for file in self.files)
        if is_folder or (self._root is not None and (self._root / folder).is_dir()):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None

    def get_source(self, fullname: str) -> str:
        """The text of a module; ImportError if it is not here."""
        place = self._place(fullname)
        if place is None:
            raise ImportError(f"no module {fullname}", name=fullname)
        return self.files[place]

    def get_code(self, fullname: str) -> CodeType:
        """Compiled under its path, which errors then name."""
        place, source = self._place(fullname), self.get_source(fullname)
        assert place is not None
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        return compile(source, place, "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        """Whether the module has modules below it."""
        return (self._place(fullname) or "").endswith("__init__.py")

    def _place(self, fullname: str) -> str | None:
        """The path of a module's file, read and kept if it was not; None if there is none."""
        stem = fullname.replace(".", "/")
        if fullname == self._entry and self._entry_file is not None:
            candidates: tuple[str, ...] = (self._entry_file,)
        else:
            candidates = (f"{stem}/__init__.py", f"{stem}.py")
        for place in candidates:
            if place in self.files:
                return place
            if self._root is not None and (self._root / place).is_file():
                self.files[place] = (self._root / place).read_text(encoding="utf-8-sig")
                return place
        return None


class _Last(importlib.abc.MetaPathFinder):
    """Asked after all other finders."""

    def __init__(self, modules: ShippedModules) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return self._modules.spec(fullname)


def user_place(error: BaseException) -> str:
    """ "FILE.py:LINE: " of the last line of the user's source that an error went through; empty if there is none."""
    places = [line_place(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append(line_place(error.filename, error.lineno))
    return next((place for place in reversed(places) if place), "")


def line_place(file: str | None, line: int | None) -> str:
    """The same for a line; empty for one that is not the user's."""
    installed = ShippedModules._installed
    return f"{file}:{line}: " if installed is not None and file in installed.files else ""


def _loader_of(module: ModuleType) -> object:
    return getattr(module, "__loader__", None)
