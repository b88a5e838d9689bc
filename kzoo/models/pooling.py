"""From token vectors to one vector a text."""

from __future__ import annotations

from typing import Any

import keras


class Pooling(keras.layers.Layer):  # type: ignore[misc]
    """Pools (batch, length, width) to (batch, width).

    Args:
        mode: `mean` or `max` over the tokens whose mask is 1, `cls` (the first token), or `last`
            (the last one whose mask is 1, where a causal model has seen the whole text).
        vocabulary_size: Ids from here on are virtual tokens of a prompt, which `mean` and `max`
            leave out: they stand for the task and not for the text. Default: there are none.
    """

    def __init__(self, mode: str, vocabulary_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.vocabulary_size = vocabulary_size

    def call(
        self, tokens: Any, mask: Any = None, padding_mask: Any = None, token_ids: Any = None
    ) -> Any:
        """tokens: float (batch, length, width); padding_mask, token_ids: int (batch, length)."""
        ops = keras.ops
        if self.mode == "cls":
            return tokens[:, 0, :]
        if self.mode == "last":
            length = ops.shape(padding_mask)[1]
            places = ops.where(ops.cast(padding_mask, "bool"), ops.arange(length), 0)
            last = ops.max(places, axis=1)
            return ops.squeeze(ops.take_along_axis(tokens, last[:, None, None], axis=1), axis=1)
        real = ops.cast(padding_mask, tokens.dtype)
        if self.vocabulary_size is not None:
            real = real * ops.cast(token_ids < self.vocabulary_size, tokens.dtype)
        real = ops.expand_dims(real, -1)
        if self.mode == "max":
            return ops.max(ops.where(real > 0, tokens, -1e9), axis=1)
        count = ops.maximum(ops.sum(real, axis=1), 1)
        return ops.sum(tokens * real, axis=1) / count

    def compute_output_shape(self, tokens_shape: Any, *_: Any) -> Any:
        """(batch, width)."""
        return (tokens_shape[0], tokens_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The mode."""
        return {
            **super().get_config(),
            "mode": self.mode,
            "vocabulary_size": self.vocabulary_size,
        }


def pooled(backbone: Any, mode: str) -> Any:
    """The symbolic pooled output of a backbone, built flat on its graph.

    Raises:
        ValueError: `pooler` on a family that has none.
    """
    outputs, side = backbone.output, ""
    sequence = outputs
    if isinstance(outputs, dict):
        side = "decoder_" if "decoder_sequence_output" in outputs else ""
        sequence = outputs[f"{side}sequence_output"]
    if mode == "pooler":
        if not isinstance(outputs, dict) or "pooled_output" not in outputs:
            raise ValueError(f"`pooling` 'pooler': {type(backbone).__name__} has no pooler.")
        return outputs["pooled_output"]
    # ELECTRA names it otherwise.
    size = getattr(backbone, "vocabulary_size", None) or backbone.vocab_size
    return Pooling(mode, size, name="pooling", dtype="float32")(
        sequence,
        padding_mask=backbone.input[f"{side}padding_mask"],
        token_ids=backbone.input[f"{side}token_ids"],
    )
