"""`kzoo.heads.AtTokens`: the contract of heads whose labels stand at tokens (tags, spans)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads.head import Head
from kzoo.reads.read import Targets
from kzoo.reads.windows import Windows


class AtTokens(Head):
    """Answers for each token; stands behind a `kzoo.WordsInput` or `kzoo.WindowsInput`.

    Args:
        **kwargs: As `kzoo.heads.Head`, without `pooling`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "pooling": "none"})

    def answered(self, x: Any, training: bool | None) -> Any:
        """Token vectors (batch, length, width), or a dict of them, to (batch, length, units)."""
        tokens = x["tokens"] if isinstance(x, Mapping) else x
        if len(tokens.shape) != 3:
            raise InputError(
                f"The head `{self.name}` needs token vectors (batch, length, width). "
                f"Received shape: {tuple(tokens.shape)}"
            )
        return self.answer(self.head_dropout(tokens, training=training))

    def align(self, column: NDArray[Any], windows: Windows) -> Targets:
        """Labels as the loss takes them, window by window.

        Args:
            column: Labels of the n texts.
            windows: The m windows of these.

        Returns:
            (window numbers, length) -> (labels (windows, *target_shape), float32 weights
            (windows, *weight_shape)).

        Raises:
            InputError: A label that does not fit; its row is named.
        """
        raise NotImplementedError

    def read_off(self, outputs: NDArray[Any], windows: Windows) -> list[Any]:
        """What outputs mean in the texts.

        Args:
            outputs: (m, length, ...), the outputs of the m windows.
            windows: The windows of n texts.

        Returns:
            n values.
        """
        raise NotImplementedError

    def value_scores(self, column: Sequence[Any], values: Sequence[Any]) -> dict[str, float]:
        """Scores of what `read_off` gives against the labels of n texts; after `evaluate`."""
        return {}

    def decode(self, outputs: NDArray[Any]) -> Any:
        """Refused: outputs know no texts.

        Raises:
            InputError: Always, with what to do.
        """
        raise InputError("Logits of tokens know no texts. Use model.predict_values(rows).")

    def class_weight(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """Refused: a row has labels of several classes.

        Raises:
            InputError: Always.
        """
        raise InputError(f"`class_weight`: rows of the head `{self.name}` have several labels.")
