"""`ClassHead`: a head with a list of classes, which the first `fit` finds for each adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError, InputError
from kzoo.heads.answers import Answer
from kzoo.heads.head import Head

_OPEN = 2  # outputs while the classes are not known yet


class ClassHead(Head):
    """Knows classes by name; see the kinds of heads that stand on it.

    Where neither `num_classes` nor `labels` is given, the first `fit` finds the classes in the
    training data, for each adapter anew.

    Args:
        num_classes: Number of classes.
        labels: Their names, in the order of the outputs.
        **kwargs: As `kzoo.heads.Head`.
    """

    #: Facts of an output layer, beside its classes, that go into an adapter's file where they are.
    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_classes: int | None = None,
        labels: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        names = None if labels is None else self.as_labels(labels)
        _check_names(names, num_classes)
        self._given = (len(names) if names is not None else num_classes, names)

    # --- What a kind of head says ------------------------------------------------------------

    def as_labels(self, labels: Sequence[Any]) -> list[Any]:
        """Classes as they stand in the facts."""
        return [str(label) for label in labels]

    def units_of(self, num_classes: int) -> int:
        """Outputs for so many classes."""
        return num_classes

    def find(self, column: NDArray[Any], names: Sequence[str] | None) -> Sequence[Any] | int:
        """The classes of training labels, or their number where they have no names.

        Raises:
            InputError: Nothing can be learned from these labels.
        """
        raise NotImplementedError

    # --- Classes -----------------------------------------------------------------------------

    def first_facts(self) -> dict[str, Any]:
        """See `Head`."""
        number, names = self._given
        return {
            "units": self.units_of(number) if number else _OPEN,
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
    def labels(self) -> list[Any] | None:
        """Names of the classes in the order of the outputs, or None."""
        names = self.facts["labels"]
        return None if names is None else list(names)

    @property
    def is_open(self) -> bool:
        """See `Head`."""
        return any(answer.facts["num_classes"] is None for answer in self.acting())

    def known_classes(self) -> int:
        """Their number.

        Raises:
            InputError: It is not known yet.
        """
        if self.is_open:
            raise InputError(
                "`num_classes` is not known yet. Call fit, or pass `num_classes=` or `labels=` to "
                "kzoo.load."
            )
        return self.num_classes or 0

    @property
    def numbers(self) -> bool:
        """Whether the names are integers as they stand in label columns, such as years."""
        return bool(self.facts.get("numbers"))

    def set_labels(self, labels: Sequence[Any], numbers: bool = False) -> None:
        """Names the classes; sizes the output layer where the classes were not known.

        Args:
            labels: The names.
            numbers: Whether they are integers as they stand in label columns, and `predict_values`
                gives integers.

        Raises:
            InputError: The names are not distinct, or their number is not `num_classes`.
        """
        names = self.as_labels(labels)
        _check_names(names, self.num_classes if self.facts["settled"] else None)
        for answer in self.acting():
            self._settle(answer, len(names), names)
            if numbers:
                for own in (answer, self.answers[""]):
                    if own.facts["labels"] == names:
                        own.change(numbers=True)

    def set_number(self, number: int) -> None:
        """Settles how many classes there are, without names."""
        for answer in self.acting():
            self._settle(answer, number, None)

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: finds the classes, or checks that the labels can be known ones."""
        acting = self.acting()
        if all(a.facts["settled"] and a.facts["labels"] is not None for a in acting):
            return
        found = self.find(np.asarray(column), names)
        for answer in acting:
            if not answer.facts["settled"]:
                if isinstance(found, int):
                    self._settle(answer, found, None)
                else:
                    self._settle(answer, len(found), list(found))
            elif answer.facts["labels"] is None and not isinstance(found, int):
                _check_names(list(found), answer.facts["num_classes"])
                self._settle(answer, len(found), list(found))

    def _settle(self, answer: Answer, number: int, names: list[Any] | None) -> None:
        facts = {"units": self.units_of(number), "num_classes": number, "labels": names}
        answer.change(**facts, settled=True)
        bare = self.answers[""]
        if bare.facts["num_classes"] is None:  # so that it can answer, with adapters off
            bare.change(**facts)

    def class_weight(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """See `Head`."""
        labels: list[Any] = self.labels or list(range(self.known_classes()))
        ids: dict[Any, int] = {label: number for number, label in enumerate(labels)}
        if self.numbers:
            ids = {int(label): number for label, number in ids.items()}
        elif self.labels:
            ids |= {number: number for number in range(len(labels))}
        if unknown := [key for key in weights if key not in ids]:
            raise InputError(
                f"`class_weight` has {unknown[0]!r}, which is no class of `{self.name}`: "
                f"{labels[:10]}"
            )
        given = {ids[key]: weight for key, weight in weights.items()}
        return {number: given.get(number, 1.0) for number in range(len(labels))}

    # --- Files -------------------------------------------------------------------------------

    def saved_facts(self, answer: Answer) -> dict[str, Any]:
        """See `Head`."""
        return {} if answer.facts["num_classes"] is None else super().saved_facts(answer)

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
        answer.change(**{key: facts[key] for key in self.kept if key in facts})

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "num_classes": self._given[0], "labels": self._given[1]}


def _check_names(names: Sequence[Any] | None, number: int | None) -> None:
    if names is None:
        return
    if len(set(names)) != len(names):
        raise InputError("`labels` must be distinct.")
    if number not in (None, len(names)):
        raise InputError(f"`labels` has {len(names)} names, but the model has {number} classes.")


def loss_options(
    loss: str, known: dict[str, dict[str, float]], **given: float | None
) -> dict[str, float]:
    """The options of a head's loss, with its defaults.

    Args:
        loss: Name of the loss.
        known: Name -> options and their defaults.
        **given: `gamma` and `beta` as they were passed, None for the default.

    Raises:
        InputError: An unknown loss, an option that it does not have, or a value out of range.
    """
    if loss not in known:
        raise InputError(f"`loss` must be one of {', '.join(known)}. Received: {loss!r}")
    for name, value in given.items():
        if value is None:
            continue
        if name not in known[loss]:
            raise InputError(f"`{name}` is no option of the loss {loss!r}. Leave it out.")
        if value < 0 or (name == "beta" and value >= 1):
            where = "in [0, 1)" if name == "beta" else "0 or more"
            raise InputError(f"`{name}` must be {where}. Received: {value}")
    return {**known[loss], **{name: value for name, value in given.items() if value is not None}}
