"""A head's output layers: one for the bare trunk, and one for each adapter that has acted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kzoo.adapters.acting.composition import BatchSplit, Block, Fuse, Parallel, PerRow
from kzoo.errors import AdapterError
from kzoo.keras_internals import unlocked, untrack

BARE = ""  # the owner of what answers while no adapter acts
HIDDEN = {
    "tanh": ops.tanh,
    "relu": ops.relu,
    "gelu": lambda x: ops.gelu(x, approximate=False),  # HF's
}
_NEVER = -1e9  # the logit of a class that a row's own head does not have


class Answer(keras.layers.Layer):  # type: ignore[misc]
    """One dense layer of float32 outputs: `kernel` (width, units), `bias` (units,).

    With `hidden` in the facts, the name of an activation, it stands on a dense layer of the width
    of its input: `hidden_kernel`, `hidden_bias`.

    Args:
        facts: JSON-ready data of its head: `units` and what else the head keeps.
        width: Size of what comes in.
        seed: Decides the initial kernel.
    """

    def __init__(self, facts: Mapping[str, Any], width: int, seed: int) -> None:
        super().__init__(dtype="float32", name="answer")
        self._kept = _Kept(dict(facts))
        self.width = width
        self.seed = seed
        self._make()
        self.built = True

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-ready: `units`, and what the kind of head keeps."""
        return self._kept.facts

    def _make(self) -> None:
        normal = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        units = self.facts["units"]
        if self.facts.get("hidden"):
            square = (self.width, self.width)
            self.hidden_kernel = self.add_weight(square, normal, name="hidden_kernel")
            self.hidden_bias = self.add_weight((self.width,), "zeros", name="hidden_bias")
        self.kernel = self.add_weight((self.width, units), normal, name="kernel")
        self.bias = self.add_weight((units,), "zeros", name="bias")

    def change(self, **facts: Any) -> None:
        """Takes on other facts; with another number of units the variables start anew."""
        before = self.facts["units"]
        self.facts.update(facts)
        if self.facts["units"] == before:
            return
        trainable = bool(keras.layers.Layer.trainable.fget(self))
        with unlocked(self):
            for variable in list(self.weights):
                untrack(self, variable)
            self._make()
        self.trainable = trainable

    def effective(self) -> tuple[Any, Any]:
        """Kernel and bias as they are applied, in the units of the outputs."""
        return self.kernel, self.bias


class _Kept:
    """A box that Keras' attribute tracking does not look into."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts


def owners(composition: str | Block | None) -> list[str]:
    """Whose answers are given under a composition.

    An adapter answers with its own; a stack, a mean or a split of the tokens with that of its last
    child, a fusion with that of the fusion. Rows that have adapters of their own (`PerRow`,
    `Parallel`, `BatchSplit`) are answered by each of them.
    """
    if composition is None:
        return [BARE]
    if isinstance(composition, str):
        return [composition]
    if isinstance(composition, (PerRow, Parallel, BatchSplit)):
        return [owner for child in composition.children for owner in owners(child)[-1:]]
    if isinstance(composition, Fuse):
        return [composition.fusion] if composition.fusion else owners(composition.children[-1])
    return owners(composition.children[-1])


def row_numbers(composition: str | Block | None, ids: Any, rows: Any) -> Any:
    """Which of `owners` answers each row, -1 for the bare trunk's; None where all are one's.

    Args:
        composition: The active one.
        ids: int32 (rows,), from the running model, for `PerRow` and `Parallel`.
        rows: How many rows the batch has.
    """
    if isinstance(composition, (PerRow, Parallel)):
        if ids is None:
            raise AdapterError("PerRow and Parallel need a kzoo.Model that is called as a whole.")
        return ids
    if isinstance(composition, BatchSplit):
        sizes = list(composition.batch_sizes)
        given = sum(size for size in sizes if size >= 0)
        counts = [size if size >= 0 else rows - given for size in sizes]
        return ops.concatenate(
            [ops.repeat(ops.array([n], "int32"), count) for n, count in enumerate(counts)]
        )
    if isinstance(composition, Block) and composition.children:
        last = composition.children[-1]
        return None if isinstance(composition, Fuse) else row_numbers(last, ids, rows)
    return None


def answered(x: Any, answer: Answer) -> Any:
    """float (..., width) to float32 (..., units)."""
    if hidden := answer.facts.get("hidden"):
        x = HIDDEN[hidden](ops.matmul(x, answer.hidden_kernel) + answer.hidden_bias)
    kernel, bias = answer.effective()
    return ops.matmul(x, kernel) + bias


def answered_by_row(x: Any, bare: Answer, own: list[Answer], numbers: Any) -> Any:
    """Each row by its own answer; a class that it does not have gets a logit of -1e9.

    Args:
        x: float32 (rows, width) or (rows, length, width).
        bare: For rows with number -1.
        own: For the others.
        numbers: int32 (rows,).
    """
    chosen, every = numbers + 1, (bare, *own)
    if hidden := bare.facts.get("hidden"):
        kernels = [answer.hidden_kernel for answer in every]
        x = HIDDEN[hidden](_by_row(x, kernels, [a.hidden_bias for a in every], chosen))
    most = max(answer.facts["units"] for answer in every)
    kernels, biases = [], []
    for answer in every:
        kernel, bias = answer.effective()
        missing = most - answer.facts["units"]
        kernels.append(ops.pad(kernel, [[0, 0], [0, missing]]))
        biases.append(ops.pad(bias, [[0, missing]], constant_values=_NEVER))
    return _by_row(x, kernels, biases, chosen)


def _by_row(x: Any, kernels: list[Any], biases: list[Any], chosen: Any) -> Any:
    """Each row of x by the layer that is chosen for it."""
    kernel = ops.take(ops.stack([ops.copy(v) for v in kernels]), chosen, axis=0)
    bias = ops.take(ops.stack([ops.copy(v) for v in biases]), chosen, axis=0)
    if len(x.shape) == 3:
        return ops.matmul(x, kernel) + bias[:, None, :]
    return ops.squeeze(ops.matmul(ops.expand_dims(x, 1), kernel), 1) + bias
