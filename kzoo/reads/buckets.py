"""Sequence-length buckets: a few fixed lengths, so that XLA compiles a handful of times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Multiples that CPUs and TPUs like; past 512 the trunk's own limit is appended.
LADDER = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def choose_buckets(lengths: NDArray[np.integer], max_tokens: int, most: int = 4) -> tuple[int, ...]:
    """The at most `most` lengths from the ladder that waste the least padding on these texts.

    Args:
        lengths: int (n,), tokens in each text, none above `max_tokens`.
        max_tokens: The longest bucket that may be needed.
        most: Number of buckets; every bucket is one XLA compilation of the step.

    Returns:
        Rising lengths; the last one holds the longest text.
    """
    steps = [step for step in LADDER if step < max_tokens] + [max_tokens]
    need = np.searchsorted(steps, lengths)  # the smallest step that holds each text
    counts = np.bincount(need, minlength=len(steps))
    used = [i for i in range(len(steps)) if counts[i]]
    if not used:
        return (steps[0],)
    # cost[k][j]: least padded tokens for the texts up to used[j], with k+1 buckets, one at used[j].
    sums = np.concatenate([[0], np.cumsum(counts[used])])
    size = len(used)
    cost = np.full((min(most, size), size), np.inf)
    back = np.zeros(cost.shape, int)
    for j in range(size):
        cost[0][j] = sums[j + 1] * steps[used[j]]
    for k in range(1, len(cost)):
        for j in range(size):
            for i in range(j):
                total = cost[k - 1][i] + (sums[j + 1] - sums[i + 1]) * steps[used[j]]
                if total < cost[k][j]:
                    cost[k][j], back[k][j] = total, i
    k = int(np.argmin(cost[:, size - 1]))
    chosen, j = [], size - 1
    while True:
        chosen.append(steps[used[j]])
        if k == 0:
            break
        j, k = int(back[k][j]), k - 1
    return tuple(reversed(chosen))


def every_length(lengths: NDArray[np.integer], max_tokens: int) -> tuple[int, ...]:
    """A bucket for each length that occurs: no padding but for what is left over.

    Args:
        lengths: int (n,), tokens in each text, none above `max_tokens`.
        max_tokens: The one bucket where there is no text.
    """
    return tuple(int(length) for length in np.unique(lengths)) or (max_tokens,)


def bucket_for(length: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `length` tokens."""
    return next(bucket for bucket in buckets if bucket >= length)


def shuffled_batches(
    lengths: NDArray[np.integer],
    buckets: Sequence[int],
    batch_size: int,
    rng: np.random.Generator,
) -> list[tuple[NDArray[np.int64], int]]:
    """One epoch in random order, each batch from texts of similar length.

    All batches are full but one, and that one is padded to the longest bucket, so that the
    number of different shapes is the number of buckets plus one, in every epoch.

    Args:
        lengths: int (n,), tokens in each text.
        buckets: Rising lengths; the last holds every text.
        batch_size: Rows in a full batch.
        rng: Source of the order.

    Returns:
        (row numbers, padded length) for each batch; every row occurs exactly once.
    """
    order = rng.permutation(len(lengths))
    home = np.searchsorted(buckets, lengths[order])
    full: list[tuple[NDArray[np.int64], int]] = []
    rest = np.empty(0, "int64")
    for number, length in enumerate(buckets):
        # What did not fill a batch of shorter texts joins the next longer bucket.
        rows = np.concatenate([rest, order[home == number]]).astype("int64")
        rows = rng.permutation(rows)
        whole = len(rows) - len(rows) % batch_size
        full += [(rows[i : i + batch_size], length) for i in range(0, whole, batch_size)]
        rest = rows[whole:]
    batches = [full[i] for i in rng.permutation(len(full))]
    if len(rest):
        batches.append((rest, buckets[-1]))
    return batches


def ordered_batches(
    lengths: NDArray[np.integer],
    buckets: Sequence[int],
    batch_size: int,
    order: NDArray[np.integer] | None = None,
) -> list[tuple[NDArray[np.int64], int]]:
    """Consecutive rows of an order, each batch padded to the bucket of its longest text.

    Args:
        lengths: int (n,), tokens in each text.
        buckets: Rising lengths; the last holds every text.
        batch_size: Rows in a full batch.
        order: int (n,), row numbers. Default: 0 ... n - 1.
    """
    order = np.arange(len(lengths)) if order is None else order
    parts = [order[i : i + batch_size].astype("int64") for i in range(0, len(order), batch_size)]
    return [(rows, bucket_for(int(lengths[rows].max()), buckets)) for rows in parts]
