"""Searches over HTTP: submit, watch, steer and fetch runs. The service starts runs and never trains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.service.client import Client as Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from search.service.client import Client

        return Client
    raise AttributeError(f"module 'search.service' has no attribute {name!r}")
