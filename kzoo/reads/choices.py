"""`kzoo.ChoicesInput`: a text with each of k others, as k inputs of one trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kzoo.backbones.text import EncodedTexts
from kzoo.errors import InputError
from kzoo.reads import READS
from kzoo.reads.columns import as_list
from kzoo.reads.read import Part, Rows, prefix_of, symbolic
from kzoo.reads.text import TextRead
from kzoo.trunk.layer import Trunk

Row = tuple[str, tuple[str, ...]]


def ChoicesInput(
    trunk: Trunk, k: int, name: str | None = None, max_tokens: int | None = None
) -> list[Any]:
    """Symbolic inputs for (text, candidates) rows, as `kzoo.heads.Choose` and `Rank` need them.

    The trunk is called on the list, which is one call for each candidate with the text in front.
    A row may have fewer than k candidates: the missing ones are inputs without any token.

    Args:
        trunk: The `kzoo.Trunk` whose tokenizer is used.
        k: The most candidates a row may have.
        name: As in `kzoo.TextInput`. In a table without a column of this name the columns `context`
            and `choices`, or `query` and `passages` (or `passage`) are read.
        max_tokens: Longest pair in tokens, special tokens included. Default: the trunk's.

    Returns:
        k dicts as `kzoo.TextInput` gives them.

    Raises:
        InputError: As `kzoo.TextInput`, or `k` is less than 1.

    Example:
        >>> choices = kzoo.ChoicesInput(trunk, k=4)
        >>> model = kzoo.Model(choices, kzoo.heads.Choose()(trunk(choices)))
        >>> model.fit([("The sky is", ["blue", "loud", "wet", "cheap"]), ...], [0, ...])
    """
    if k < 1:
        raise InputError(f"`k` must be at least 1. Received: {k}")
    prefix = prefix_of(name)
    keys = trunk.processor(max_tokens).family.inputs
    inputs = [symbolic([f"{prefix}{i}_{key}" for key in keys], (None,), "int32") for i in range(k)]
    flat = {key: tensor for one in inputs for key, tensor in one.items()}
    ChoicesRead(name or "text", flat, trunk, prefix, max_tokens)
    return inputs


@READS.register("choices")
class ChoicesRead(TextRead):
    """Rows of a text and its candidates, each candidate a pair of texts."""

    kind = "choices"
    columns = (("context", "choices"), ("query", "passages"), ("query", "passage"))

    @property
    def k(self) -> int:
        """The most candidates of a row."""
        return len(self.keys) // len(self.text.family.inputs)

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; one part, in which all candidates of a row have one length."""
        rows, text = choice_rows(column, self.label), self.text
        counts = np.asarray([len(choices) for _, choices in rows], "int64")
        if counts.max(initial=0) > self.k:
            number = int(np.argmax(counts > self.k))
            raise InputError(
                f"`{self.label}` row {number} has {counts[number]} candidates, but the model was "
                f"made for k={self.k}."
            )
        pairs = [(context, choice) for context, choices in rows for choice in choices]
        prompts = None
        if by_row is not None:
            prompts = [by_row[n] for n, count in enumerate(counts) for _ in range(count)]
        encoded = text.tokenize(pairs, prompts)
        places = np.full((len(rows), self.k), len(pairs), "int64")  # the last one: no token
        places[np.arange(self.k) < counts[:, None]] = np.arange(len(pairs))
        lengths = np.append(encoded.lengths, 0)[places].max(axis=1)
        offsets = np.append(encoded.offsets, encoded.offsets[-1])
        encoded = replace(encoded, offsets=offsets)

        def pad(numbers: Rows, length: int) -> dict[str, Any]:
            return self._padded(encoded, places[numbers], length)

        return [Part(pad, lengths, text.max_tokens, candidates=counts)]

    def _padded(self, encoded: EncodedTexts, places: Rows, length: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for i in range(self.k):
            arrays = self.text.pad(encoded, places[:, i], length)
            found |= {f"{self.prefix}{i}_{key}": value for key, value in arrays.items()}
        return found

    @property
    def fingerprint(self) -> str:
        """See `Read`."""
        return f"{super().fingerprint}|{self.k}"


def choice_rows(column: Any, name: str = "x") -> list[Row]:
    """Normalises what users pass as texts with candidates.

    Args:
        column: A list of (text, candidates), where the candidates are a sequence of texts, or one
            text; or a tuple of two columns.
        name: What messages call it.

    Returns:
        (text, candidates) of each row.

    Raises:
        InputError: Anything else, or a row without candidates; its number is named.
    """
    if isinstance(column, (str, bytes)):
        raise InputError(f"`{name}` must be a list of rows, not one text.")
    if isinstance(column, tuple) and len(column) == 2 and not isinstance(column[0], (str, bytes)):
        first, second = as_list(column[0]), as_list(column[1])
        if len(first) != len(second):
            raise InputError(
                f"`{name}` as a tuple must hold two columns of equal length. "
                f"Received: {len(first)} and {len(second)} rows"
            )
        column = list(zip(first, second, strict=True))
    return [_row(row, number, name) for number, row in enumerate(column)]


def _row(row: Any, number: int, name: str) -> Row:
    paired = isinstance(row, (list, tuple, np.ndarray)) and len(row) == 2
    context, given = row if paired else (None, ())
    found = [given] if isinstance(given, (str, bytes)) else given
    listed = isinstance(found, (Sequence, np.ndarray)) and not isinstance(found, Mapping)
    texts = tuple(_text(text) for text in found) if listed else ()
    context = _text(context)
    if context is None or not texts or None in texts:
        raise InputError(
            f"`{name}` row {number} must be (text, [candidate, ...]) with one candidate at least. "
            f"Received: {row!r:.80}"
        )
    return context, texts  # type: ignore[return-value]


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value) if isinstance(value, str) else None
