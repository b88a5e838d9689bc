"""Merging tensors of several tasks into one: task arithmetic, pruning, TIES and DARE.

Pure functions on numpy arrays that know nothing of adapters; `kzoo.adapters.combining` applies them
to whole adapters. Each takes the tensors of the tasks (all of one shape) and a weight for each, and
returns one tensor of that shape. Half-precision tensors are computed, and returned, in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError, did_you_mean

Tensor = NDArray[Any]

MAJORITY_SIGNS = ("total", "frequency")


def task_arithmetic(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum of the tensors (Ilharco et al. 2022, arXiv:2212.04089, section 2).

    Args:
        tensors: One a task, all of one shape.
        weights: One a task; they may be negative and need not sum to 1.

    Raises:
        AdapterError: No tensors, different shapes, or another number of weights.
    """
    merged: Tensor = _weighted(_stack(tensors), weights).sum(axis=0)
    return merged


def magnitude_prune(tensors: Sequence[Tensor], weights: Sequence[float], density: float) -> Tensor:
    """The weighted sum of what is largest in each tensor.

    Args:
        tensors: One a task, all of one shape.
        weights: One a task.
        density: Share of each tensor's entries that is kept, over 0, at most 1.

    Raises:
        AdapterError: As `task_arithmetic`, or `density` is out of range.
    """
    return task_arithmetic([keep_largest(tensor, density) for tensor in tensors], weights)


def ties(
    tensors: Sequence[Tensor],
    weights: Sequence[float],
    density: float,
    majority_sign: str = "total",
) -> Tensor:
    """TIES: trim, elect sign, disjoint merge (Yadav et al. 2023, arXiv:2306.01708, section 4).

    The signs are elected by the trimmed tensors before their weights, as in HF PEFT, so a negative
    weight turns a task's contribution around and not its vote.

    Args:
        tensors: One a task, all of one shape.
        weights: One a task.
        density: Share of each tensor's entries that survives the trimming, over 0, at most 1.
        majority_sign: See `elect_sign`.

    Raises:
        AdapterError: As `magnitude_prune`, or `majority_sign` is not known.
    """
    return _elect_and_merge([keep_largest(t, density) for t in tensors], weights, majority_sign)


def dare_linear(
    tensors: Sequence[Tensor], weights: Sequence[float], density: float, seed: int = 0
) -> Tensor:
    """DARE: drop at random, rescale, sum (Yu et al. 2023, arXiv:2311.03099, section 3.2).

    Args:
        tensors: One a task, all of one shape.
        weights: One a task.
        density: Probability that an entry is kept (the paper's 1 - p), over 0, at most 1.
        seed: Decides what is dropped; every tensor has its own mask.

    Raises:
        AdapterError: As `magnitude_prune`.
    """
    return task_arithmetic(_drop(tensors, density, seed), weights)


def dare_ties(
    tensors: Sequence[Tensor],
    weights: Sequence[float],
    density: float,
    majority_sign: str = "total",
    seed: int = 0,
) -> Tensor:
    """TIES on what DARE leaves: drop and rescale, elect sign, disjoint merge.

    Args:
        tensors: One a task, all of one shape.
        weights: One a task.
        density: Probability that an entry is kept, over 0, at most 1.
        majority_sign: See `elect_sign`.
        seed: Decides what is dropped.

    Raises:
        AdapterError: As `ties`.
    """
    return _elect_and_merge(_drop(tensors, density, seed), weights, majority_sign)


def keep_largest(tensor: Tensor, density: float) -> Tensor:
    """Sets all but the largest `int(density * size)` entries, by magnitude, to 0.

    Of equal magnitudes the first ones stay, so that the result is the same on every machine.

    Raises:
        AdapterError: `density` is out of range.
    """
    _check_density(density)
    magnitudes = np.abs(_single(tensor)).ravel()
    count = int(density * magnitudes.size)
    if count == 0:
        return np.zeros_like(_single(tensor))
    smallest = np.partition(magnitudes, magnitudes.size - count)[magnitudes.size - count]
    keep = magnitudes > smallest
    equal = np.flatnonzero(magnitudes == smallest)
    keep[equal[: count - int(keep.sum())]] = True
    return np.where(keep.reshape(tensor.shape), _single(tensor), 0)


def drop_at_random(tensor: Tensor, density: float, generator: np.random.Generator) -> Tensor:
    """Keeps each entry with probability `density` and divides it by it: same expectation.

    Raises:
        AdapterError: `density` is out of range.
    """
    _check_density(density)
    tensor = _single(tensor)
    kept = generator.random(tensor.shape) < density
    return np.where(kept, tensor / tensor.dtype.type(density), 0)


def elect_sign(tensors: Sequence[Tensor], majority_sign: str = "total") -> NDArray[np.bool_]:
    """Which entries have the sign that the tasks agree on; zeros never have it.

    Args:
        tensors: One a task, all of one shape.
        majority_sign: `total` (the sign of the sum, as in the paper) or `frequency` (the sign
            that more tasks have). A draw goes to plus.

    Returns:
        Booleans, shape (tasks, *shape).

    Raises:
        AdapterError: `majority_sign` is not known.
    """
    check_majority_sign(majority_sign)
    stack = _stack(tensors)
    signs = np.sign(stack)
    votes = (stack if majority_sign == "total" else signs).sum(axis=0)
    elected: NDArray[np.bool_] = signs == np.where(votes >= 0, 1, -1)
    return elected


def disjoint_merge(tensors: Sequence[Tensor], elected: NDArray[np.bool_]) -> Tensor:
    """The mean, entry by entry, over the tasks that `elected` names; 0 where it names none."""
    merged: Tensor = np.where(elected, _stack(tensors), 0).sum(axis=0)
    merged /= np.maximum(elected.sum(axis=0), 1)
    return merged


def check_majority_sign(majority_sign: str) -> None:
    """Refuses what is none of `MAJORITY_SIGNS`.

    Raises:
        AdapterError: See above.
    """
    if majority_sign not in MAJORITY_SIGNS:
        raise AdapterError(
            f"`majority_sign` {majority_sign!r} is not known."
            f"{did_you_mean(str(majority_sign), MAJORITY_SIGNS)}"
        )


def _elect_and_merge(
    tensors: Sequence[Tensor], weights: Sequence[float], majority_sign: str
) -> Tensor:
    elected = elect_sign(tensors, majority_sign)
    return disjoint_merge(list(_weighted(_stack(tensors), weights)), elected)


def _drop(tensors: Sequence[Tensor], density: float, seed: int) -> list[Tensor]:
    generator = np.random.default_rng(seed)
    return [drop_at_random(tensor, density, generator) for tensor in tensors]


def _single(tensor: Tensor) -> Tensor:
    """At least float32: sums of half-precision numbers lose what merging is about."""
    return tensor if tensor.dtype in (np.float32, np.float64) else tensor.astype(np.float32)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) != 1:
        raise AdapterError(f"`tensors` must be tensors of one shape. Received: {shapes}")
    return np.stack([_single(tensor) for tensor in tensors])


def _weighted(stack: Tensor, weights: Sequence[float]) -> Tensor:
    if len(weights) != len(stack):
        raise AdapterError(
            f"`weights` must be {len(stack)} numbers, one a tensor. Received: {len(weights)}"
        )
    factors = np.asarray(weights, dtype=stack.dtype)
    weighted: Tensor = stack * factors.reshape(-1, *[1] * (stack.ndim - 1))
    return weighted


def _check_density(density: float) -> None:
    if not 0 < density <= 1:
        raise AdapterError(f"`density` must be over 0 and at most 1. Received: {density!r}")


MERGES: dict[str, Callable[..., Tensor]] = {
    "linear": task_arithmetic,
    "magnitude_prune": magnitude_prune,
    "ties": ties,
    "dare_linear": dare_linear,
    "dare_ties": dare_ties,
}
