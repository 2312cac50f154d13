"""What a network comes from: a function of its config, whether of the built-in family or of a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from model.shipped_modules import line_place, user_place


class NetworkError(ValueError):
    """A user's network cannot be used: one line that names the place in its source, if there is one."""


class Builder(Protocol):
    """Builds a network: normalised images (N, 3, image_size, image_size) in, logits (N, num_classes) out.

    Takes the network's part of a config. Parameters come from PyTorch's default generator, which the caller seeds;
    the device is the default one. ValueError for a config that makes no network.
    """

    def __call__(self, config: Mapping[str, Any], *, num_classes: int, image_size: int) -> nn.Module: ...

    def __hash__(self) -> int: ...


def built_network(build: Builder, config: Mapping[str, Any], *, num_classes: int, image_size: int) -> nn.Module:
    """The network on the default device. NetworkError if the builder refuses the config or gives something else."""
    try:
        network: object = build(dict(config), num_classes=num_classes, image_size=image_size)
    except Exception as error:
        raise NetworkError(f"{user_place(error)}{error_text(error)}") from error
    if not isinstance(network, nn.Module):
        raise NetworkError(f"{place_of(build)}must return a torch.nn.Module; got {type(network).__name__}")
    return network


def place_of(code: object) -> str:
    """ "FILE.py:LINE: " of a function, or of a class's `forward`, of the user; empty for installed ones."""
    compiled = getattr(getattr(code, "forward", code), "__code__", None)
    return "" if compiled is None else line_place(compiled.co_filename, compiled.co_firstlineno)


def error_text(error: BaseException) -> str:
    """The first line of an error, with its type where a user could not guess it."""
    line = (str(error).splitlines() or [""])[0]
    return line if type(error) is ValueError and line else f"{type(error).__name__}: {line}"
