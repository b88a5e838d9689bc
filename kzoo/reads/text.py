"""`kzoo.TextInput`: texts or pairs of texts as the inputs of a trunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kzoo.backbones.text import EncodedTexts, TextProcessor, check_rows
from kzoo.reads import READS
from kzoo.reads.columns import looks_like_text
from kzoo.reads.read import Part, Read, prefix_of, symbolic
from kzoo.trunk.layer import Trunk


def TextInput(trunk: Trunk, name: str | None = None, max_tokens: int | None = None) -> Any:
    """Symbolic inputs for a column of texts, to be called by the trunk.

    `kzoo.Model` fills them from raw strings or pairs of strings: it tokenises with the trunk's
    tokenizer, sorts into length buckets, pads, and writes the virtual tokens of active prompts.

    Args:
        trunk: The `kzoo.Trunk` whose tokenizer is used.
        name: The column. Several inputs of a model need different ones. Default: `text`, and the
            tensors have the backbone's own names.
        max_tokens: Longest text in tokens, special tokens included. Default: the trunk's.

    Returns:
        Input name -> KerasTensor, int32 (batch, length): `token_ids` and what else the backbone
        takes, with `name_` in front where it is given.

    Raises:
        InputError: The trunk has no tokenizer, or takes images.

    Example:
        >>> question = kzoo.TextInput(trunk, name="question")
        >>> vectors = trunk(question)["tokens"]
    """
    text = trunk.processor(max_tokens)
    prefix = prefix_of(name)
    inputs = symbolic([prefix + key for key in text.family.inputs], (None,), "int32")
    TextRead(name or "text", inputs, trunk, prefix, max_tokens)
    return inputs


@READS.register("text")
class TextRead(Read):
    """Texts or pairs of texts, tokenised for a trunk.

    Args:
        name: The column.
        inputs: The symbolic inputs.
        trunk: Whose tokenizer it is.
        prefix: What stands before the backbone's names of its inputs.
        max_tokens: Longest text. Default: the trunk's.
    """

    kind = "text"

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Any],
        trunk: Trunk,
        prefix: str = "",
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(name, inputs)
        self.trunk = trunk
        self.prefix = prefix
        self.max_tokens = max_tokens
        # The trunk's config carries it, so that a clone of a model can find it again.
        trunk.reads.value[name] = {"kind": self.kind, "keys": list(self.keys), **self.config()}

    @property
    def text(self) -> TextProcessor:
        """The processor."""
        return self.trunk.processor(self.max_tokens)  # type: ignore[no-any-return]

    @property
    def label(self) -> str:
        """What messages call the column."""
        return self.name if self.prefix else "x"

    def is_raw(self, column: Any) -> bool:
        """Everything but numbers in arrays."""
        return looks_like_text(column)

    def count(self, column: Any) -> int:
        """Rows; a tuple of two columns is pairs."""
        if isinstance(column, str):
            check_rows(column, self.label)  # says what is wrong
        return len(column[0] if _two_columns(column) else column)

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; one part."""
        return [self.part(self.text.tokenize(check_rows(column, self.label), by_row))]

    def part(self, encoded: EncodedTexts) -> Part:
        """Tokenised rows as a part."""
        text = self.text
        return Part(
            pad=lambda rows, length: self._named(text.pad(encoded, rows, length)),
            lengths=encoded.lengths,
            longest=text.max_tokens,
        )

    @property
    def fingerprint(self) -> str:
        """See `Read`."""
        return f"{self.kind}|{self.prefix}|{self.text.fingerprint}"

    def _named(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {self.prefix + key: value for key, value in arrays.items()}

    def config(self) -> dict[str, Any]:
        """See `Read`."""
        return {"prefix": self.prefix, "max_tokens": self.max_tokens}

    @classmethod
    def attach(
        cls, name: str, inputs: Mapping[str, Any], trunk: Any, config: Mapping[str, Any]
    ) -> Read:
        """See `Read`."""
        return cls(name, inputs, trunk, **config)


def _two_columns(column: Any) -> bool:
    return (
        isinstance(column, tuple)
        and len(column) == 2
        and isinstance(column[0], (list, tuple, np.ndarray))
    )
