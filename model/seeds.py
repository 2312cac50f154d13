"""Seeds for every purpose from one: each use of chance names itself, so none can disturb another."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *parts: int | str) -> int:
    """A seed in 0..2**63 - 1 for the purpose that `parts` name, e.g. `derive_seed(7, "order", epoch)`.

    The same on every machine and Python; 1 and "1" are different parts.
    """
    digest = hashlib.sha256(repr((int(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
