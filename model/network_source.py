"""A user's network: Python source read once on the machine that has it, and sent as text to every process that builds.

What a run trains can so neither change under it nor be missing on another node.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from model.builder import Builder, NetworkError
from model.shipped_modules import ShippedModules, user_place

_FILE_MODULE = "own_network"
"""The module that a single file becomes; its own name might be that of another module."""
_TORCHVISION = "torchvision.models"


@dataclass(frozen=True, kw_only=True)
class NetworkSource:
    """Where networks come from, as plain values."""

    name: str
    """As the user gave it: FILE.py:NAME or MODULE:NAME."""
    module: str
    """What to import."""
    attribute: str
    entry_file: str | None = None
    """The path of that module's file, if it has another name than the module."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The source that is not installed, by path: the module and what it imports from beside it."""
    sha256: str = ""
    """Of all that source; of an installed module, of its file. Empty: the built-in family."""

    @property
    def is_built_in(self) -> bool:
        """Whether these are the networks that come with the program."""
        return self == BUILT_IN


BUILT_IN = NetworkSource(name="built-in", module="model.network", attribute="build")


def read_source(name: str) -> tuple[NetworkSource, ShippedModules | None]:
    """Imports FILE.py:NAME, a path, or MODULE:NAME for the first time. NetworkError for whatever is wrong with it.

    The source lacks the files that the network imports only when it is built; see `completed`.
    """
    ShippedModules.forget()
    source, root = _located(name)
    if root is None:
        return _installed(source), None
    modules = _modules_of(source, root)
    modules.install()
    _attribute(source)
    return completed(source, modules), modules


def recorded_source(name: str, files: Collection[str]) -> NetworkSource:
    """The same when its files are known; nothing is imported, unless it is installed. NetworkError for a lost file."""
    ShippedModules.forget()
    source, root = _located(name)
    if root is None:
        return _installed(source)
    try:
        texts = {file: (root / file).read_text(encoding="utf-8-sig") for file in files}
    except (OSError, ValueError) as error:
        raise NetworkError(f"its source cannot be read: {error}") from None
    return replace(source, files=texts, sha256=_sha256(texts))


def completed(source: NetworkSource, modules: ShippedModules | None) -> NetworkSource:
    """The source with every file that was imported up to now."""
    if modules is None:
        return source
    return replace(source, files=dict(modules.files), sha256=_sha256(modules.files))


def builder_of(source: NetworkSource) -> Builder:
    """The builder, in any process. NetworkError if it cannot be imported."""
    if source.module == _TORCHVISION:
        return _torchvision_builder(source.attribute)
    if source.files and not ShippedModules.are_installed(source.files):
        _modules_of(source, None).install()
    builder: Builder = _attribute(source)
    return builder


def space_of(source: NetworkSource) -> Mapping[str, Any] | None:
    """The `SPACE` of the builder's module, in the form of a space file's table; None if it has none."""
    builder_of(source)
    space = getattr(sys.modules[source.module], "SPACE", None)
    if source.module == _TORCHVISION or space is None:
        return None
    if not isinstance(space, Mapping) or not all(isinstance(key, str) for key in space):
        raise NetworkError(f"SPACE must be a dict of keys, as [network] in a space file; got {type(space).__name__}")
    return space


def _sha256(files: Mapping[str, str]) -> str:
    text = "".join(f"{path}\n{len(code)}\n{code}" for path, code in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _located(name: str) -> tuple[NetworkSource, Path | None]:
    """The source without its text, and the folder that has it; None for an installed module."""
    module, _, attribute = name.rpartition(":")
    if not module.endswith(".py"):
        return NetworkSource(name=name, module=module, attribute=attribute), _own_root(module)
    path = Path(module)
    if not path.is_file():
        raise NetworkError(f"there is no file {path}")
    source = NetworkSource(name=name, module=_FILE_MODULE, attribute=attribute, entry_file=path.name)
    return source, path.resolve().parent


def _modules_of(source: NetworkSource, root: Path | None) -> ShippedModules:
    entry = source.module.partition(".")[0]
    return ShippedModules(root=root, entry=entry, entry_file=source.entry_file, files=source.files)


def _attribute(source: NetworkSource) -> Any:
    try:
        module = importlib.import_module(source.module)
    except Exception as error:
        raise NetworkError(f"cannot be imported: {user_place(error)}{type(error).__name__}: {error}") from error
    found = getattr(module, source.attribute, None)
    if found is None:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise NetworkError(f"has no `{source.attribute}`. It has: {', '.join(names) or 'no function'}")
    if not callable(found):
        raise NetworkError(f"`{source.attribute}` is not a function; it is {type(found).__name__}")
    return found


def _own_root(module: str) -> Path | None:
    """The folder that holds the user's package; None if the package is installed, or comes with this program."""
    top = module.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return None
    spec = importlib.util.find_spec(top)
    if spec is None:
        here = Path.cwd()
        if (here / top).is_dir() or (here / f"{top}.py").is_file():
            return here
        raise NetworkError(f"there is no module {top}, neither installed nor in {here}")
    places = [spec.origin] if spec.origin and spec.has_location else list(spec.submodule_search_locations or ())
    if not places:
        return None
    path = Path(places[0]).resolve()
    root = path.parent.parent if spec.submodule_search_locations and path.suffix else path.parent
    return None if any(root.is_relative_to(folder) for folder in _installed_folders()) else root


def _installed_folders() -> list[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names] + site.getsitepackages() + [site.getusersitepackages()]
    return [Path(folder).resolve() for folder in folders]


def _installed(source: NetworkSource) -> NetworkSource:
    builder_of(source)
    path = getattr(sys.modules[source.module], "__file__", None)
    content = Path(path).read_bytes() if path else source.name.encode()
    return replace(source, sha256=hashlib.sha256(content).hexdigest())


@lru_cache  # one function, so that what is known of its networks is found again
def _torchvision_builder(name: str) -> Builder:
    import torchvision.models as zoo

    known = zoo.list_models(module=zoo)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        advice = (
            f"Did you mean {close[0]}? There are {len(known) - 1} others" if close else f"Known: {', '.join(known)}"
        )
        raise NetworkError(f"torchvision has no classifier {name}. {advice}")

    def build(config: Mapping[str, Any], *, num_classes: int, image_size: int) -> Any:
        return zoo.get_model(name, weights=None, num_classes=num_classes, **config)

    return build
