"""Texts as next-token prediction: token ids, the token that follows each, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, IntArray, TextProcessor, TextRow, check_rows


@dataclass(frozen=True)
class LanguageRows:
    """A ragged batch for a language model.

    Args:
        encoded: Token ids, the end token included; of an encoder-decoder, those of the encoder.
        labels: int32 (total,), the id that follows each token; 0 where it is not to be learned.
        weights: float32 (total,), 1 where the following token is to be learned: all of a text, or
            the completion of a (prompt, completion) pair.
        targets: Token ids of the decoder of an encoder-decoder, which labels and weights are for.
    """

    encoded: EncodedTexts
    labels: IntArray
    weights: NDArray[np.float32]
    targets: EncodedTexts | None = None

    @property
    def learned(self) -> EncodedTexts:
        """The tokens that labels and weights are for."""
        return self.encoded if self.targets is None else self.targets


def language_rows(
    text: TextProcessor,
    rows: Sequence[TextRow],
    end: int,
    vocabulary_size: int,
    prompts: Any = None,
) -> LanguageRows:
    """Tokenises texts, or pairs of prompt and completion.

    The end token is put behind every row, so that generation learns to stop; a row that is longer
    than `max_tokens` is cut at its end and has none.

    Args:
        text: The processor; its virtual tokens stand in front and are never learned.
        rows: Texts or (prompt, completion) pairs.
        end: Id of the end token.
        vocabulary_size: Ids from here on are virtual.
        prompts: As in `TextProcessor.tokenize`.
    """
    rows = check_rows(rows)
    pairs = bool(rows) and not isinstance(rows[0], str)
    opened = text.tokenize([row[0] if pairs else row for row in rows], prompts)
    closings: list[list[int]] = [[]] * len(rows)
    if pairs:
        encodings = text.tokenizer.encode_batch([r[1] for r in rows], add_special_tokens=False)
        closings = [encoding.ids for encoding in encodings]
    ids, weights, truncated = [], [], opened.truncated
    for number, closing in enumerate(closings):
        start = opened.ids[opened.offsets[number] : opened.offsets[number + 1]]
        whole = np.concatenate([start, np.asarray([*closing, end], "int32")])
        learned = whole < vocabulary_size
        learned[: len(start) if pairs else 1] = False  # the first token follows nothing
        truncated += len(whole) > text.limit + 1
        ids.append(whole[: text.limit])
        weights.append(learned[: text.limit])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype("int64")
    flat = np.concatenate(ids) if ids else np.zeros(0, "int32")
    learned = np.concatenate(weights) if weights else np.zeros(0, bool)
    # Each token's label stands one to the right; the last token of a row has none.
    labels, counted = np.roll(flat, -1), np.roll(learned, -1)
    labels[offsets[1:] - 1], counted[offsets[1:] - 1] = 0, False
    labels[~counted] = 0  # a virtual token is no class
    encoded = EncodedTexts(flat, np.zeros_like(flat), offsets, truncated)
    return LanguageRows(encoded, labels.astype("int32"), counted.astype("float32"))
