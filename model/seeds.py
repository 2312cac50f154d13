"""Independent seeds derived from one: each purpose names itself, so none affects another."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *parts: int | str) -> int:
    """A seed in 0..2**63 - 1 for the purpose named by `parts`, for example `derive_seed(7, "order", epoch)`.

    It is the same on every machine and Python version. The parts 1 and "1" differ.
    """
    digest = hashlib.sha256(repr((int(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
