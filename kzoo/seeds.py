"""One seed for a model, a stream of different ones for its parts."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *parts: object) -> int:
    """A 31-bit seed for one part, the same on every machine and in every process.

    Args:
        seed: The model's or the run's seed.
        parts: What names the part, such as an adapter's name and a block number.
    """
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
