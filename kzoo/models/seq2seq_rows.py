"""Pairs of texts for an encoder-decoder: source ids, the decoder's ids, and what follows each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo.backbones.text import EncodedTexts, TextProcessor, TextRow, check_rows
from kzoo.errors import InputError
from kzoo.models.language_rows import LanguageRows


def seq2seq_rows(
    text: TextProcessor, rows: Sequence[TextRow], end: int, prompts: Any = None
) -> LanguageRows:
    """Tokenises (source, target) pairs.

    A target is what the tokenizer makes of a text, special tokens included: `x </s>` for T5,
    `<s> x </s>` for BART. The decoder gets it one place to the right, behind its start token, as
    in HF and KerasHub; every token of it is learned. A target that is longer than `max_tokens` is
    cut at its end and has no end token.

    Args:
        text: The processor; its virtual tokens stand before the source.
        rows: The pairs.
        end: Id of the end token.
        prompts: As in `TextProcessor.tokenize`.

    Raises:
        InputError: Rows are no pairs.
    """
    rows = check_rows(rows)
    if rows and isinstance(rows[0], str):
        raise InputError(
            "`x` must be (source, target) pairs, or sources with targets as `y`. "
            f"Received: texts such as {rows[0]!r:.60}"
        )
    encoded = text.tokenize([row[0] for row in rows], prompts)
    text.tokenizer.no_truncation()
    encodings = text.tokenizer.encode_batch([row[1] for row in rows], add_special_tokens=False)
    whole = [[*text.decoder_opening, *encoding.ids, end] for encoding in encodings]
    kept = np.asarray([min(len(ids) - 1, text.limit) for ids in whole])
    given = [ids[:count] for ids, count in zip(whole, kept, strict=True)]
    learned = [ids[1 : count + 1] for ids, count in zip(whole, kept, strict=True)]
    targets = EncodedTexts(
        ids=np.concatenate(given).astype("int32"),
        segments=np.zeros(kept.sum(), "int32"),
        offsets=np.concatenate([[0], np.cumsum(kept)]).astype("int64"),
        truncated=sum(len(ids) - 1 > count for ids, count in zip(whole, kept, strict=True)),
    )
    labels = np.concatenate(learned).astype("int32")
    return LanguageRows(encoded, labels, np.ones(len(labels), "float32"), targets)
