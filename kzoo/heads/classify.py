"""`kzoo.heads.Classify`: one class a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError, InputError
from kzoo.heads import HEADS
from kzoo.heads.answers import Answer
from kzoo.heads.head import Head
from kzoo.heads.labels import find_labels, to_ids
from kzoo.metrics import MacroF1

_OPEN = 2  # outputs while the classes are not known yet


@HEADS.register("classify")
@keras.saving.register_keras_serializable(package="kzoo")
class Classify(Head):
    """Classes of rows; outputs float32 logits (batch, num_classes).

    Where neither `num_classes` nor `labels` is given, the first `fit` counts the classes of the
    training data, for each adapter anew.

    Args:
        num_classes: Number of classes.
        labels: Their names, in the order of the outputs.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "classify"

    def __init__(
        self,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        names = None if labels is None else [str(label) for label in labels]
        _check_names(names, num_classes)
        self._given = (len(names) if names is not None else num_classes, names)

    def first_facts(self) -> dict[str, Any]:
        """See `Head`."""
        number, names = self._given
        return {
            "units": number or _OPEN,
            "num_classes": number,
            "labels": names,
            "settled": number is not None,
        }

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None before they are known."""
        found = self.facts["num_classes"]
        return None if found is None else int(found)

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes in the order of the outputs, or None."""
        names = self.facts["labels"]
        return None if names is None else list(names)

    @property
    def is_open(self) -> bool:
        """See `Head`."""
        return any(answer.facts["num_classes"] is None for answer in self.acting())

    def set_labels(self, labels: Sequence[str]) -> None:
        """Names the classes; sizes the output layer where the classes were not known.

        Raises:
            InputError: The names are not distinct, or their number is not `num_classes`.
        """
        names = [str(label) for label in labels]
        _check_names(names, self.num_classes if self.facts["settled"] else None)
        for answer in self.acting():
            self._settle(answer, len(names), names)

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: counts the classes, or checks that the labels can be known ones."""
        acting = self.acting()
        if all(a.facts["settled"] and a.facts["labels"] is not None for a in acting):
            return
        found = find_labels(np.asarray(column), names)
        for answer in acting:
            if not answer.facts["settled"]:
                if isinstance(found, int):
                    self._settle(answer, found, None)
                else:
                    self._settle(answer, len(found), list(found))
            elif answer.facts["labels"] is None and not isinstance(found, int):
                _check_names(list(found), answer.facts["num_classes"])
                self._settle(answer, len(found), list(found))

    def _settle(self, answer: Answer, number: int, names: list[str] | None) -> None:
        answer.change(units=number, num_classes=number, labels=names, settled=True)
        bare = self.answers[""]
        if bare.facts["num_classes"] is None:  # so that it can answer, with adapters off
            bare.change(units=number, num_classes=number, labels=names)

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """Class ids, int32 (n,)."""
        if self.is_open:
            raise InputError(
                "`num_classes` is not known yet. Call fit, or pass `num_classes=` or `labels=` to "
                "kzoo.load."
            )
        return to_ids(np.asarray(column), self.labels, self.num_classes or 0, names)

    def default_loss(self) -> Any:
        """Sparse categorical cross-entropy of logits."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self) -> list[Any]:
        """Accuracy, and macro-F1 once the classes are known."""
        # Not names: "accuracy" guesses its kind from shapes, which fails on an open head.
        found: list[Any] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if not self.is_open:
            found.append(MacroF1(self.units))
        return found

    def decode(self, outputs: NDArray[Any]) -> list[Any]:
        """The most probable class of each row: its name, or its id where there are no names."""
        ids = np.argmax(outputs, axis=-1).tolist()
        labels = self.labels
        return ids if labels is None else [labels[i] for i in ids]

    def class_weight(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """See `Head`."""
        labels = self.labels or []
        ids: dict[Any, int] = {label: number for number, label in enumerate(labels)}
        return {ids.get(key, key): weight for key, weight in weights.items()}

    def saved_facts(self, answer: Answer) -> dict[str, Any]:
        """See `Head`."""
        if answer.facts["num_classes"] is None:
            return {}
        return {
            "kind": self.kind,
            "num_classes": answer.facts["num_classes"],
            "labels": answer.facts["labels"],
            "pooling": self.pooling,
        }

    def accept(self, facts: Mapping[str, Any], owner: str | None) -> None:
        """See `Head`.

        Raises:
            AdapterError: Also where the user gave other classes or labels to the model.
        """
        super().accept(facts, owner)
        answer = self.of(owner)
        number, names = facts["num_classes"], facts["labels"]
        known, labels = answer.facts["num_classes"], answer.facts["labels"]
        if answer.facts["settled"] and known != number:
            raise AdapterError(
                f"The saved head has {number} classes, this model {known}. Load with "
                "`with_head=False`, or into a fresh model."
            )
        if answer.facts["settled"] and None not in (labels, names) and labels != names:
            raise AdapterError(
                f"The saved head has the labels {names[:5]}..., this model {labels[:5]}... "
                "Load with `with_head=False`, or into a fresh model."
            )
        self._settle(answer, number, list(names) if names is not None else None)

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "num_classes": self._given[0], "labels": self._given[1]}


def _check_names(names: Sequence[str] | None, number: int | None) -> None:
    if names is None:
        return
    if len(set(names)) != len(names):
        raise InputError("`labels` must be distinct.")
    if number not in (None, len(names)):
        raise InputError(f"`labels` has {len(names)} names, but the model has {number} classes.")
