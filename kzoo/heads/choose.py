"""`kzoo.heads.Choose`: the right one of a row's candidates (multiple choice)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.candidates import CandidateHead
from kzoo.heads.labels import to_ids
from kzoo.reads.choices import choice_rows


@HEADS.register("choose")
@keras.saving.register_keras_serializable(package="kzoo")
class Choose(CandidateHead):
    """Chooses among k candidates; outputs float32 logits (batch, k), -1e9 where a row has fewer.

    As GPT (Radford et al. 2018, section 3.3) and BERT (Devlin et al. 2019, section 4.4) do for
    SWAG: each candidate is read together with the text, and a softmax is taken over their numbers.
    Labels are the number of the right candidate, from 0, or its name in `labels`.

    Args:
        k: As `CandidateHead`.
        labels: Names of the places, such as A, B, C, D, where the data have these. Default: none.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "choose"

    def __init__(
        self, k: int | None = None, labels: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(k if k is not None or labels is None else len(labels), **kwargs)
        self.labels = None if labels is None else [str(label) for label in labels]
        if self.labels is not None and not self.k == len(set(self.labels)) == len(self.labels):
            raise InputError(f"`labels` must be k={self.k} different names. Received: {labels}")

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """int32 (n,), the number of the right candidate."""
        column = np.asarray(column)
        if self.labels is not None:
            return to_ids(column, self.labels, self.units, names)
        if names is not None and column.dtype.kind in "iu":
            column = np.asarray(names, str)[column]
        ids = np.asarray([self._number(value, row) for row, value in enumerate(column)], "int32")
        if len(bad := np.flatnonzero((ids < 0) | (ids >= self.units))):
            raise InputError(
                f"`{self.name}` row {bad[0]} is {ids[bad[0]]}, but candidates have the numbers 0 "
                f"to {self.units - 1} (k={self.k})."
            )
        return ids

    def _number(self, value: Any, row: int) -> int:
        try:
            if int(value) == float(value):
                return int(value)
        except (TypeError, ValueError):
            pass
        raise InputError(
            f"`{self.name}` row {row} must be the number of the right candidate, from 0. "
            f"Received: {value!r:.60}. Where candidates have names, pass these in order: "
            "`labels=['A', 'B', ...]`."
        )

    def check_candidates(self, targets: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """See `Head`: the right candidate must be there."""
        if len(bad := np.flatnonzero(targets >= counts)):
            raise InputError(
                f"`{self.name}` row {bad[0]}: the right candidate is number {targets[bad[0]]}, but "
                f"the row has {counts[bad[0]]}. Numbers begin at 0."
            )

    def default_loss(self) -> Any:
        """Cross-entropy over the candidates."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self) -> list[Any]:
        """Accuracy."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def decode(self, outputs: NDArray[Any]) -> list[Any]:
        """The best candidate of each row: its number, or its name in `labels`."""
        ids = np.argmax(outputs, axis=-1).tolist()
        return ids if self.labels is None else [self.labels[i] for i in ids]

    def chosen(self, outputs: NDArray[Any], rows: Any) -> list[str]:
        """The best candidate of each row as text.

        Args:
            outputs: What `predict` gave for the rows.
            rows: The rows, as `kzoo.ChoicesInput` takes them.

        Returns:
            n texts.

        Raises:
            InputError: Another number of rows.
        """
        texts = choice_rows(rows, "rows")
        if len(texts) != len(outputs):
            raise InputError(f"`rows` has {len(texts)} rows, `outputs` {len(outputs)}.")
        best = np.argmax(outputs, axis=-1)
        return [choices[i] for (_, choices), i in zip(texts, best, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "labels": self.labels}
