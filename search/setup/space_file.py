"""The file of --space, read and made into the search space of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.errors import SpaceError, UserError
from search.files import read_text
from search.settings import SearchSettings
from search.space.space import SearchSpace

if TYPE_CHECKING:
    from model.network_source import NetworkSource
    from model.split_images import ImageArrays


def read_space(settings: SearchSettings) -> str | None:
    """The text of --space; None without it. UserError if it cannot be read."""
    if settings.space is None:
        return None
    try:
        return read_text(settings.space)
    except OSError as error:
        raise UserError(f"--space {settings.space} cannot be read ({error.strerror}). Give a TOML file.") from None
    except UnicodeDecodeError:
        raise UserError(f"--space {settings.space} is not text. Give a TOML file.") from None


def make_space(settings: SearchSettings, text: str | None, images: ImageArrays, network: NetworkSource) -> SearchSpace:
    """The search space of a run on some images; the settings are resolved.

    SpaceError names the file of --space in each line. UserError for what an own network does wrong.
    """
    # Imported late: they import torch, and a file that cannot be read is refused before that.
    from model.builder import NetworkError
    from search.setup.own_network import network_problem
    from search.space.network_space import network_space
    from search.space.space_check import Limits

    limits = Limits(
        max_params=settings.max_params,
        min_receptive_field=settings.min_receptive_field,
        num_classes=images.num_classes,
        image_size=int(images.images.shape[1]),
        required=settings.require,
        network=network,
    )
    try:
        return network_space(text, limits, num_train=len(images.train_indices))
    except NetworkError as error:
        raise network_problem(network.name, error) from None
    except SpaceError as error:
        if settings.space is None:
            raise
        lines = [f"--space {settings.space}: {line}" for line in str(error).splitlines()]
        raise SpaceError("\n".join(lines)) from None
