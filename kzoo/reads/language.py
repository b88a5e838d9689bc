"""Texts as next-token prediction: token ids, the token that follows each, and what counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, IntArray, TextProcessor, TextRow, check_rows
from kzoo.errors import InputError, WeightsError
from kzoo.reads import READS
from kzoo.reads.read import ITSELF, Part, Rows, padded, prefix_of, symbolic
from kzoo.reads.text import TextRead
from kzoo.trunk.layer import Trunk

# What families end a text with, the most special first.
END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")

# What models of chats end their turn with. Generation stops at all of these and the above.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>")


def LanguageInput(trunk: Trunk, name: str | None = None, max_tokens: int | None = None) -> Any:
    """Symbolic inputs for texts whose own tokens are learned: see `LanguageRead`.

    Args:
        trunk: A decoder or an encoder-decoder.
        name: As in `kzoo.TextInput`.
        max_tokens: As in `kzoo.TextInput`; of an encoder-decoder for source and target each.

    Raises:
        WeightsError: The tokenizer has no end token that is known.
    """
    text = trunk.processor(max_tokens)
    end_token(text.tokenizer)
    prefix = prefix_of(name)
    inputs = symbolic([prefix + key for key in text.family.inputs], (None,), "int32")
    LanguageRead(name or "text", inputs, trunk, prefix, max_tokens)
    return inputs


@READS.register("language")
class LanguageRead(TextRead):
    """Texts, or pairs of which the second is learned; the input says what is learned.

    Of a decoder, texts (every token is learned) or (prompt, completion) pairs; of an
    encoder-decoder (source, target) pairs.
    """

    kind = "language"

    @property
    def end(self) -> int:
        """Id of the token that ends a text."""
        return end_token(self.text.tokenizer)

    @property
    def paired(self) -> bool:
        """Whether rows have to be pairs."""
        return bool(self.trunk.family.kind == "encoder-decoder")

    def encode_learned(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; of an encoder-decoder two parts, the source and the target."""
        text, rows = self.text, check_rows(column, self.label)
        if not self.paired:
            size = self.trunk.vocabulary_size
            learned = language_rows(text, rows, self.end, size, by_row)
            part = self.part(learned.encoded)
            return [replace(part, targets={ITSELF: _targets(learned)})]
        learned = seq2seq_rows(text, rows, self.end, by_row)
        targets = learned.learned

        def pad(rows: Rows, length: int) -> dict[str, Any]:
            return self._named(text.pad_decoder(targets, rows, length))

        return [
            self.part(learned.encoded),
            Part(pad, targets.lengths, text.max_tokens, {ITSELF: _targets(learned)}),
        ]


def end_token(tokenizer: Any) -> int:
    """Id of the token that ends a text.

    Raises:
        WeightsError: The vocabulary has none that is known.
    """
    for token in END_TOKENS:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    raise WeightsError(f"The tokenizer has no end token; looked for {', '.join(END_TOKENS)}.")


def _targets(learned: LanguageRows) -> Any:
    offsets = learned.learned.offsets

    def targets(rows: Rows, length: int) -> tuple[Any, Any]:
        return (
            padded(learned.labels, offsets, rows, length),
            padded(learned.weights, offsets, rows, length),
        )

    return targets


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
