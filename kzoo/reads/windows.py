"""`kzoo.WordsInput` and `kzoo.WindowsInput`: texts whose tokens keep their places.

A text that is longer than `max_tokens` is not cut off: it becomes several rows of tokens, windows
that overlap. Heads whose labels stand at tokens (tags, spans) learn from them and read them off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, Places, check_rows
from kzoo.errors import InputError
from kzoo.reads import READS
from kzoo.reads.read import Part, prefix_of, symbolic
from kzoo.reads.text import TextRead
from kzoo.trunk.layer import Trunk

Span = tuple[int, int]


def WordsInput(
    trunk: Trunk,
    name: str | None = None,
    max_tokens: int | None = None,
    stride: int | None = None,
) -> Any:
    """Symbolic inputs for a column of texts or of lists of words, as `kzoo.heads.Tag` needs them.

    A row is a text, which the tokenizer splits into words, or a list of words, which are joined by
    spaces. All rows are of one kind.

    Args:
        trunk: The `kzoo.Trunk` whose tokenizer is used.
        name: As in `kzoo.TextInput`.
        max_tokens: Longest window in tokens, special tokens included. Default: the trunk's.
        stride: How many tokens two windows of a text share. Default: a quarter of a window, at
            most 128.

    Returns:
        As `kzoo.TextInput`.

    Raises:
        InputError: As `kzoo.TextInput`, or `stride` is no number of tokens.
    """
    return _inputs(trunk, name, max_tokens, stride, words=True)


def WindowsInput(
    trunk: Trunk,
    name: str | None = None,
    max_tokens: int | None = None,
    stride: int | None = None,
) -> Any:
    """Symbolic inputs for (question, context) pairs, as `kzoo.heads.Span` needs them.

    A context that is too long becomes several windows, with the question in front of each.

    Args:
        trunk: As in `kzoo.WordsInput`.
        name: As in `kzoo.TextInput`.
        max_tokens: As in `kzoo.WordsInput`.
        stride: As in `kzoo.WordsInput`.

    Returns:
        As `kzoo.TextInput`.

    Raises:
        InputError: As `kzoo.WordsInput`.
    """
    return _inputs(trunk, name, max_tokens, stride, words=False)


def _inputs(
    trunk: Trunk, name: str | None, max_tokens: int | None, stride: int | None, words: bool
) -> Any:
    text = trunk.processor(max_tokens)
    if text.family.kind == "encoder-decoder":
        raise InputError(
            f"`trunk` {trunk.origin} is an encoder-decoder, whose decoder gives no vector for each "
            "token of a text. Use an encoder."
        )
    prefix = prefix_of(name)
    inputs = symbolic([prefix + key for key in text.family.inputs], (None,), "int32")
    WindowsRead(name or "text", inputs, trunk, prefix, max_tokens, stride, words)
    return inputs


@dataclass(frozen=True)
class Windows:
    """Encoded windows and the texts that they are of.

    Args:
        encoded: m windows.
        texts: n texts; of pairs, the second of each.
        given: Characters of each text's words, where the rows were lists of words.
    """

    encoded: EncodedTexts
    texts: Sequence[str]
    given: Sequence[NDArray[np.int64]] | None = None

    @property
    def places(self) -> Places:
        """Where the tokens stand."""
        assert self.encoded.places is not None, "windows are encoded with their places"
        return self.encoded.places

    def tokens(self, window: int) -> slice:
        """The tokens of a window in the flat arrays."""
        return slice(*self.encoded.offsets[window : window + 2].tolist())

    @cached_property
    def words(self) -> Sequence[NDArray[np.int64]]:
        """(first character, behind the last) of each word of each text, int64 (words, 2)."""
        if self.given is not None:
            return self.given
        at, kept = self.places, self.places.words >= 0
        texts = np.repeat(at.rows, self.encoded.lengths)[kept]
        keys, number = np.unique(np.stack([texts, at.words[kept]]), axis=1, return_inverse=True)
        found = np.empty((keys.shape[1], 2), "int64")
        found[:, 0] = np.iinfo("int64").max
        found[:, 1] = 0
        np.minimum.at(found[:, 0], number.ravel(), at.starts[kept])
        np.maximum.at(found[:, 1], number.ravel(), at.ends[kept])
        return np.split(found, np.searchsorted(keys[0], np.arange(1, len(self.texts))))

    @cached_property
    def firsts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The first token of each word, in the one window where most tokens surround it.

        Returns:
            int64, each as long as there are words that have tokens: number of the text, number of
            the word in it, place of the token in the flat arrays.
        """
        at, rows = self.places, self.places.rows
        found: list[NDArray[np.int64]] = []
        for window, text in enumerate(rows):
            own = self.tokens(window)
            spans = self.words[text]
            real = np.flatnonzero(at.sides[own] >= 0)
            if not len(real) or not len(spans):
                continue
            start, end = at.starts[own][real], at.ends[own][real]
            word = np.searchsorted(spans[:, 1], start, side="right")
            inside = np.minimum(word, len(spans) - 1)
            known = (word < len(spans)) & (spans[inside, 0] < end)
            first = known & np.r_[True, inside[1:] != inside[:-1]]
            if window and rows[window - 1] == text:  # it may begin in the middle of a word
                first[0] &= start[0] <= spans[inside[0], 0]
            place = np.flatnonzero(first)
            margin = np.minimum(place, len(real) - 1 - place)
            columns = [np.full(len(place), text), inside[place], -margin, own.start + real[place]]
            found.append(np.stack(columns))
        if not found:
            return (np.empty(0, "int64"),) * 3
        every = np.concatenate(found, axis=1)
        every = every[:, np.lexsort(every[[3, 2, 1, 0]])]
        best = np.r_[True, np.any(every[:2, 1:] != every[:2, :-1], axis=0)]
        return every[0, best], every[1, best], every[3, best]


@READS.register("windows")
class WindowsRead(TextRead):
    """Texts as overlapping windows of tokens that keep their places.

    Args:
        name: The column.
        inputs: The symbolic inputs.
        trunk: Whose tokenizer it is.
        prefix: As in `TextRead`.
        max_tokens: Longest window. Default: the trunk's.
        stride: Tokens that two windows share. Default: a quarter of a window, at most 128.
        words: Whether rows are texts and lists of words; else they are pairs.
    """

    kind = "windows"

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Any],
        trunk: Trunk,
        prefix: str = "",
        max_tokens: int | None = None,
        stride: int | None = None,
        words: bool = False,
    ) -> None:
        if stride is not None and stride < 0:
            raise InputError(f"`stride` must be a number of tokens. Received: {stride}")
        self.stride = stride
        self.words = words
        super().__init__(name, inputs, trunk, prefix, max_tokens)

    def count(self, column: Any) -> int:
        """Rows; lists of words are no pairs."""
        return len(column) if self.words and not isinstance(column, str) else super().count(column)

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; one part, which has `windows`."""
        text = self.text
        rows: Any
        rows, given = self._texts(column)
        room = text.limit - sum(prompt.count for prompt in text.prompts)
        stride = min(128, room // 4) if self.stride is None else self.stride
        encoded = text.tokenize(rows, by_row, stride)
        texts = rows if self.words else [row[1] for row in rows]
        return [replace(self.part(encoded), windows=Windows(encoded, texts, given))]

    def _texts(self, column: Any) -> tuple[Any, Any]:
        """The rows as texts or pairs, and the places of their words where these were given."""
        if self.words and len(column) and not isinstance(column[0], (str, bytes)):
            joined = [_joined(row, number, self.label) for number, row in enumerate(column)]
            return [text for text, _ in joined], [spans for _, spans in joined]
        rows = check_rows(column, self.label)
        if rows and isinstance(rows[0], str) != self.words:
            wanted = "texts or lists of words" if self.words else "(question, context) pairs"
            raise InputError(f"`{self.label}` must be {wanted}. Received: {rows[0]!r:.80}")
        return rows, None

    @property
    def fingerprint(self) -> str:
        """See `Read`."""
        return f"{super().fingerprint}|{self.stride}|{self.words}"

    def config(self) -> dict[str, Any]:
        """See `Read`."""
        return {**super().config(), "stride": self.stride, "words": self.words}


def _joined(row: Any, number: int, name: str) -> tuple[str, NDArray[np.int64]]:
    """A text of the words with spaces between, and the characters of each word."""
    words = [str(word) for word in row] if not isinstance(row, (str, bytes)) else []
    if not words or not all(isinstance(word, (str, np.str_)) for word in row):
        raise InputError(
            f"`{name}` row {number} must be a list of words, as the first row is. "
            f"Received: {row!r:.80}"
        )
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    return " ".join(words), np.stack([ends - [len(w) for w in words], ends], axis=1).astype("int64")
