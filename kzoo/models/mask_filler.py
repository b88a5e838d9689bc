"""`kzoo.MaskFiller`: what stands where a text has a mask token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import TextProcessor, check_rows
from kzoo.errors import InputError
from kzoo.models.model import Model
from kzoo.reads.masked import MASK_TOKENS, mask_token


@dataclass(frozen=True)
class Filling:
    """A token for a mask.

    Args:
        token: As the vocabulary has it.
        probability: From 0 to 1.
        text: The text with this token in that mask's place; other masks stay.
    """

    token: str
    probability: float
    text: str


@keras.saving.register_keras_serializable(package="kzoo")
class MaskFiller(Model):
    """Fills masks in texts: a trunk with a `kzoo.heads.MaskedLM`.

    `fit` takes texts and hides tokens of them by itself. Make one with `kzoo.load(folder)` of a
    published checkpoint, or `MaskFiller.on(trunk)`, whose head begins untrained.

    Example:
        >>> model = kzoo.load("folders/bert-base-uncased")
        >>> model.fill(["The capital of France is [MASK]."])[0][0][0].token
        'paris'
    """

    head_kind: ClassVar[str] = "masked_lm"

    def fill(
        self, texts: Sequence[str], k: int = 5, batch_size: int = 32
    ) -> list[list[list[Filling]]]:
        """The most probable tokens of each mask.

        Args:
            texts: n texts with one mask token at least, `[MASK]` or `<mask>` as the tokenizer has
                it.
            k: Tokens of a mask. Default 5.
            batch_size: Texts a step. Default 32.

        Returns:
            For each text, for each of its masks in order, k fillings, the most probable first.

        Raises:
            InputError: A text without a mask, or one that is cut before its mask.
        """
        rows = list(check_rows(texts, "texts"))
        text = self._processor()
        hidden = mask_token(text)
        known = next(t for t in MASK_TOKENS if text.tokenizer.token_to_id(t) == hidden)
        places = []
        encoded = text.tokenize(rows)
        for number, row in enumerate(rows):
            if not isinstance(row, str):
                raise InputError(f"`texts` row {number} must be one text. Received: {row!r:.80}")
            ids = encoded.ids[encoded.offsets[number] : encoded.offsets[number + 1]]
            own, wanted = np.flatnonzero(ids == hidden), row.count(known)
            if not wanted:
                raise InputError(f"`texts` row {number} has no {known}. Received: {row!r:.80}")
            if len(own) != wanted:
                raise InputError(
                    f"`texts` row {number} has {wanted} times {known}, but the model's "
                    f"{text.limit} tokens hold {len(own)} of them; shorten the text."
                )
            places.append(own)
        found = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            logits = self.predict(part, batch_size=len(part), verbose=0)
            for row, own, at in zip(part, logits, places[start:], strict=False):
                found.append([self._best(str(row), known, n, own[i], k) for n, i in enumerate(at)])
        return found

    def _processor(self) -> TextProcessor:
        assert self.text is not None, "the head reads texts"
        return self.text

    def _best(
        self, row: str, mask: str, number: int, logits: NDArray[Any], k: int
    ) -> list[Filling]:
        vocabulary = self._processor().tokenizer
        logits = logits.astype("float64") - logits.max()
        chances = np.exp(logits) / np.exp(logits).sum()
        place = list(re.finditer(re.escape(mask), row))[number]
        found = []
        for token in np.argsort(-chances, kind="stable")[:k].tolist():
            said = vocabulary.decode([token], skip_special_tokens=False).strip()
            whole = row[: place.start()] + said + row[place.end() :]
            name = str(vocabulary.id_to_token(token))
            found.append(Filling(name, float(chances[token]), whole))
        return found
