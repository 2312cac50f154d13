"""The cluster that a run's settings name."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from search.settings import SearchSettings

if TYPE_CHECKING:
    from search.tune.joined_cluster import JoinedCluster


def cluster_of(settings: SearchSettings, log_file: Path) -> AbstractContextManager[JoinedCluster | None]:
    """Joins the cluster for the time of the block; None for a run on this machine alone."""
    if settings.cluster is None:
        return contextlib.nullcontext()
    # Imported late: Ray takes seconds.
    from search.tune.joined_cluster import joined_cluster

    return joined_cluster(settings, log_file)
