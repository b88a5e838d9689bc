"""`kzoo.TextClassifier`: a trunk and a classification head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.models.model import Model


@keras.saving.register_keras_serializable(package="kzoo")
class TextClassifier(Model):
    """Classifies texts or pairs of texts (or images, on a trunk for these).

    Outputs float32 logits (batch, num_classes). Where `num_classes` was not given, the first `fit`
    counts the classes and sizes the head. A model that was not compiled compiles itself with the
    recipe's training defaults. Make one with `kzoo.load` or `TextClassifier.on(trunk)`.
    """

    head_kind: ClassVar[str] = "classify"

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None before they are known."""
        return self.head.num_classes  # type: ignore[no-any-return]

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes in the order of the outputs, or None."""
        return self.head.labels  # type: ignore[no-any-return]

    def set_labels(self, labels: Sequence[str]) -> None:
        """Names the classes; sizes the head where the classes were not known.

        Raises:
            InputError: The names are not distinct, or their number is not `num_classes`.
        """
        with self.trunk.strategy_scope():
            self.head.set_labels(labels)  # type: ignore[attr-defined]
        self.heads_learned()

    def predict_proba(self, x: Any, **kwargs: Any) -> NDArray[np.float32]:
        """float32 probabilities (n, num_classes)."""
        logits = np.asarray(self.predict(x, **kwargs), "float32")
        return np.asarray(keras.ops.softmax(logits, axis=-1))

    def predict_labels(self, x: Any, **kwargs: Any) -> list[str] | list[int]:
        """The most probable label of each text: its name, or its id where there are no names."""
        found: list[str] | list[int] = self.decode(self.predict(x, **kwargs))
        return found
