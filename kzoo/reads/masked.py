"""`MaskedInput`: texts of which some tokens are hidden, and learned (masked language modelling)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kzoo.backbones.text import EncodedTexts, TextProcessor, check_rows
from kzoo.errors import InputError, WeightsError
from kzoo.reads import READS
from kzoo.reads.read import ITSELF, Part, Rows, padded, prefix_of, symbolic
from kzoo.reads.text import TextRead
from kzoo.seeds import derive_seed
from kzoo.trunk.layer import Trunk

MASK_TOKENS = ("[MASK]", "<mask>")


def MaskedInput(
    trunk: Trunk, name: str | None = None, max_tokens: int | None = None, share: float = 0.15
) -> Any:
    """Symbolic inputs for texts whose hidden tokens are learned: see `MaskedRead`.

    Args:
        trunk: An encoder.
        name: As in `kzoo.TextInput`.
        max_tokens: As in `kzoo.TextInput`.
        share: Of the tokens, those that are learned. Default .15.

    Raises:
        WeightsError: The tokenizer has no mask token.
        InputError: `share` is not between 0 and 1.
    """
    text = trunk.processor(max_tokens)
    mask_token(text)
    if not 0 < share < 1:
        raise InputError(f"`share` must be between 0 and 1. Received: {share}")
    prefix = prefix_of(name)
    inputs = symbolic([prefix + key for key in text.family.inputs], (None,), "int32")
    MaskedRead(name or "text", inputs, trunk, prefix, max_tokens, share)
    return inputs


@READS.register("masked")
class MaskedRead(TextRead):
    """Texts or pairs, some tokens of which are learned, as BERT does (arXiv:1810.04805, A.1).

    Of each row a share of the tokens, one at least, special and virtual ones apart, is learned: of
    these 80 % become the mask token, 10 % any token of the vocabulary, 10 % stay. They are drawn
    anew in each epoch of a `fit` that shuffles (RoBERTa's dynamic masking, arXiv:1907.11692, 4.1),
    from the trunk's seed and the number of the epoch; in validation and in `evaluate` they are
    always the same, and in each batch of a stream too.

    Args:
        share: See `MaskedInput`.
        others: As `TextRead`.
    """

    kind = "masked"

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Any],
        trunk: Trunk,
        prefix: str = "",
        max_tokens: int | None = None,
        share: float = 0.15,
    ) -> None:
        self.share = share
        super().__init__(name, inputs, trunk, prefix, max_tokens)

    def encode_learned(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; one part, drawn anew for each epoch."""
        encoded = self.text.tokenize(check_rows(column, self.label), by_row)
        return [self._drawn(encoded, 0)]

    def _drawn(self, encoded: EncodedTexts, epoch: int) -> Part:
        rng = np.random.default_rng((derive_seed(self.trunk.seed, "masked"), epoch))
        size = self.trunk.vocabulary_size
        chosen = choose_tokens(encoded, learnable(self.text, encoded, size), self.share, rng)
        fate = rng.random(len(encoded.ids))
        ids = np.where(chosen & (fate < 0.8), mask_token(self.text), encoded.ids)
        other = rng.integers(0, size, len(ids))
        ids = np.where(chosen & (fate >= 0.9), other, ids).astype("int32")
        labels = np.where(chosen, encoded.ids, 0).astype("int32")
        weights = chosen.astype("float32")

        def targets(rows: Rows, length: int) -> tuple[Any, Any]:
            offsets = encoded.offsets
            return padded(labels, offsets, rows, length), padded(weights, offsets, rows, length)

        part = self.part(replace(encoded, ids=ids))
        return replace(
            part, targets={ITSELF: targets}, draw=lambda number: self._drawn(encoded, number)
        )

    @property
    def fingerprint(self) -> str:
        """See `Read`."""
        return f"{super().fingerprint}|{self.share}"

    def config(self) -> dict[str, Any]:
        """See `Read`."""
        return {**super().config(), "share": self.share}


def mask_token(text: TextProcessor) -> int:
    """Id of the mask token.

    Raises:
        WeightsError: The vocabulary has none that is known.
    """
    for token in MASK_TOKENS:
        number = text.tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    raise WeightsError(f"The tokenizer has no mask token; looked for {', '.join(MASK_TOKENS)}.")


def learnable(text: TextProcessor, encoded: EncodedTexts, size: int) -> Any:
    """bool (total,): neither special nor virtual tokens.

    Args:
        text: The processor.
        encoded: A ragged batch.
        size: Ids from here on are virtual.
    """
    pair = text.tokenizer.encode("a", "b")
    special = [i for i, yes in zip(pair.ids, pair.special_tokens_mask, strict=True) if yes]
    return (encoded.ids < size) & ~np.isin(encoded.ids, [*special, mask_token(text)])


def choose_tokens(encoded: EncodedTexts, among: Any, share: float, rng: np.random.Generator) -> Any:
    """bool (total,): a share of each row's tokens, one at least.

    Args:
        encoded: A ragged batch.
        among: bool (total,), the tokens that may be chosen.
        share: From 0 to 1.
        rng: Decides which.
    """
    row = np.repeat(np.arange(len(encoded)), encoded.lengths)
    order = np.lexsort((rng.random(len(row)), ~among, row))
    place = np.arange(len(row)) - encoded.offsets[row[order]]
    counts = np.bincount(row[among], minlength=len(encoded))
    wanted = np.minimum(np.maximum(np.rint(counts * share), 1), counts)
    chosen = np.zeros(len(row), bool)
    chosen[order] = place < wanted[row[order]]
    return chosen
