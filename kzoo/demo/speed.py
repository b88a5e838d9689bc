"""How fast models are, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any


def texts_per_second(
    models: Mapping[str, Any], texts: Sequence[str], rounds: int
) -> dict[str, float]:
    """Median speed of `predict`, texts in and logits out, tokenising included.

    The models take turns, so that a busy moment of the machine hits all of them.

    Args:
        models: Name -> model.
        texts: n texts.
        rounds: Measurements of each model, after one that is not counted.

    Returns:
        Name -> texts a second.
    """
    found: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            began = time.perf_counter()
            model.predict(list(texts), batch_size=32, verbose=0)
            if number:  # the first round compiles
                found[name].append(len(texts) / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in found.items()}
