"""Token ids past the vocabulary: soft prompts as tokens, so that masks, positions and caches fit.

A prompt of P rows owns P ids from the size of the vocabulary upwards. The text processor puts the
ids into the input, and the adapter at the token embedding gives their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Position = Literal["auto", "after_cls", "start"]


@dataclass(frozen=True)
class VirtualTokens:
    """The ids of one prompt.

    Args:
        first: The first id.
        count: Number of ids.
        position: `after_cls`: behind the special token that opens the input, where there is one;
            `start`: before everything; `auto`: `after_cls` for encoders, else `start`.
    """

    first: int
    count: int
    position: Position = "auto"

    @property
    def ids(self) -> NDArray[np.int32]:
        """int32 (count,)."""
        return np.arange(self.first, self.first + self.count, dtype="int32")


def framed(
    prompts: Sequence[VirtualTokens], opening: bool, encoder: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What stands before the first token, and what behind it.

    Args:
        prompts: In their order.
        opening: Whether the tokeniser opens an input with a special token.
        encoder: Whether the model is an encoder, which decides what `auto` is.
    """
    empty = np.empty(0, "int32")
    start, behind = [empty], [empty]
    for prompt in prompts:
        after = prompt.position == "after_cls" or (prompt.position == "auto" and encoder)
        (behind if after and opening else start).append(prompt.ids)
    return np.concatenate(start), np.concatenate(behind)


def strip_virtual(ids: Any, vocabulary_size: int) -> list[Any]:
    """Token ids without virtual ones, such as generated rows that still hold their prompt.

    Args:
        ids: ints (tokens,), or rows of them.
        vocabulary_size: Ids from here on are virtual.

    Returns:
        A list, or a list of lists.
    """
    rows = [row.tolist() if isinstance(row, np.ndarray) else row for row in ids]
    if rows and isinstance(rows[0], (list, tuple)):
        return [strip_virtual(row, vocabulary_size) for row in rows]
    return [int(token) for token in rows if token < vocabulary_size]
