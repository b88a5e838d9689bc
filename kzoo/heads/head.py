"""`kzoo.heads.Head`: the contract of a layer that ends a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self
from weakref import WeakSet

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import Block
from kzoo.errors import AdapterError, InputError, WeightsError
from kzoo.heads.answers import (
    BARE,
    HIDDEN,
    Answer,
    answered,
    answered_by_row,
    owners,
    row_numbers,
)
from kzoo.heads.pooling import pool
from kzoo.keras_internals import every_layer, operations_before, unlocked, untrack
from kzoo.reads.images import ImageInput
from kzoo.reads.text import TextInput
from kzoo.seeds import derive_seed
from kzoo.trunk.layer import Trunk


class Head(keras.layers.Layer):  # type: ignore[misc]
    """Ends a model: outputs, labels, default loss, metrics, and what outputs mean to people.

    Called on what a `kzoo.Trunk` or a fusion layer gives (token vectors with their mask, which are
    pooled), or on a plain (batch, width) tensor. In a functional graph with one trunk in front it
    follows the trunk's adapters: each answers with an output layer of its own, which is trained
    and saved with the adapter and comes back with `activate`. The first adapter goes on with the
    output layer that the model has without any; further ones start anew. Subclasses say the rest;
    one without variables sets `has_variables` to False.

    Args:
        pooling: How token vectors become one: `mean`, `max` (over the text's tokens), `cls` (the
            first token), `last` (the last of the text), or `pooler` (the checkpoint's dense tanh
            layer behind the first token). Default: the trunk's published one, else `mean`.
        dropout: Before the output layer, in training. Default 0.1.
        seed: Decides initial values and dropout.
        loss_weight: Weight of its loss among those of other outputs. Default 1.
        hidden: Activation of a dense layer below the output layer: `tanh` (as in RoBERTa's
            classifiers), `relu` (DistilBERT's) or `gelu` (ELECTRA's). Default: there is none.
        **kwargs: `name` (default: the kind), as in every Keras layer.
    """

    kind: ClassVar[str]
    has_variables: ClassVar[bool] = True
    #: Whether the input says what is learned (a language model), and not a column of labels.
    self_labelled: ClassVar[bool] = False
    #: Whether the trunk's token table is the output matrix too.
    reads_table: ClassVar[bool] = False
    #: Whether rows have labels, and do not say by themselves what is learned (rows of vectors).
    labelled: ClassVar[bool] = True
    #: One row of what `targets` (of `AtTokens` what `align`) gives, and of its weights.
    target_dtype: ClassVar[str] = "int32"
    target_shape: ClassVar[tuple[int | None, ...]] = ()
    weight_shape: ClassVar[tuple[int | None, ...]] = ()

    def __init__(
        self,
        pooling: str | None = None,
        dropout: float = 0.1,
        seed: int = 0,
        loss_weight: float = 1.0,
        hidden: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", self.kind)
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if not 0 <= dropout < 1:
            raise InputError(f"`dropout` must be in [0, 1). Received: {dropout}")
        self.pooling = pooling
        self.dropout = dropout
        self.seed = seed
        self.loss_weight = loss_weight
        if hidden is not None and (hidden not in HIDDEN or not self.has_variables):
            known = f"one of {', '.join(HIDDEN)}" if self.has_variables else "left out"
            raise InputError(
                f"`hidden` of a head {self.kind} must be {known}. Received: {hidden!r}"
            )
        self.hidden = hidden
        self.head_dropout = keras.layers.Dropout(
            dropout,
            seed=derive_seed(seed, "head-dropout"),
            name="head_dropout",
            dtype=self.dtype_policy,  # not the global one, which may be of half precision
        )
        self.answers: dict[str, Answer] = {}
        self._followed = _Followed()

    # --- The layer -------------------------------------------------------------------------

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """See the class; a symbolic call finds the trunk in front."""
        trunks = list(_trunks_before(x))
        if len(trunks) == 1:
            self._followed.trunk = trunks[0]
            if self.pooling is None:
                self.pooling = trunks[0].pooling
        self._check_pooling(x, trunks)
        outputs = super().__call__(x, *args, **kwargs)
        if len(trunks) == 1 and self not in trunks[0].heads():
            trunks[0].add_head(self)
            self.prepare(trunks[0].adapters.composition)
        return outputs

    def _check_pooling(self, x: Any, trunks: Sequence[Trunk]) -> None:
        self.pooling = self.pooling or "mean"
        every = x if isinstance(x, (list, tuple)) else [x]
        pooled = all(isinstance(one, Mapping) and "pooled" in one for one in every)
        if self.pooling == "pooler" and not pooled:
            whose = f"the weights of {trunks[0].origin} have" if trunks else "the input has"
            raise WeightsError(f"`pooling` 'pooler': {whose} no pooler. Use 'cls' or 'mean'.")

    def make_input(self, trunk: Trunk) -> Any:
        """The symbolic input for a trunk that this head stands on alone."""
        return ImageInput(trunk) if trunk.family.kind == "vision" else TextInput(trunk)

    def on_trunk(self, trunk: Trunk) -> tuple[Any, Any]:
        """The symbolic inputs of a model of a trunk and this head, and what it is called on."""
        inputs = self.make_input(trunk)
        return inputs, trunk(inputs)

    def build(self, input_shape: Any) -> None:
        """Makes the output layers."""
        shape = input_shape["tokens"] if isinstance(input_shape, Mapping) else input_shape
        self.width = int(shape[-1])
        if self.has_variables:
            for owner, facts in (self._followed.saved or {BARE: self.first_facts()}).items():
                self._put(owner, facts)

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Pools, drops out, answers.

        Args:
            x: dict with `tokens` (batch, length, width) and `mask`; or float (batch, width), or
                (batch, length, width) with `mask`.
            mask: bool (batch, length), for token vectors that come without a dict.
            training: Whether dropout is on.
        """
        pooled = pool(x, self.pooling or "mean", mask)
        return self.answer(self.head_dropout(pooled, training=training))

    def answer(self, x: Any) -> Any:
        """float32 (batch, ..., width) to (batch, ..., units), by whoever acts."""
        composition = self.composition
        names = owners(composition)
        trunk = self._followed.trunk
        ids = None if trunk is None else trunk.sites.ids.value
        numbers = row_numbers(composition, ids, ops.shape(x)[0])
        if numbers is None:
            return answered(x, self._known(names[-1]))
        own = [self._known(name) for name in names]
        return answered_by_row(x, self.answers[BARE], own, numbers)

    @property
    def trainable(self) -> bool:
        """As in Keras; set to True again, only the output layers that answer are trained."""
        return bool(keras.layers.Layer.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        if value and self.built:
            self.prepare(self.composition)

    # --- Whose answers -----------------------------------------------------------------------

    @property
    def composition(self) -> str | Block | None:
        """What acts in the trunk that the head follows."""
        trunk = self._followed.trunk
        return None if trunk is None else trunk.adapters.composition

    # Methods: Keras writes what a layer's properties hold into files.

    def followed(self) -> Trunk | None:
        """The trunk whose adapters the head follows, or None."""
        return self._followed.trunk

    def acting(self) -> list[Answer]:
        """The output layers that answer now."""
        found = [self._known(name) for name in owners(self.composition)]
        return list({id(answer): answer for answer in found}.values())

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the output layer that answers now (of the last, where rows have their own)."""
        return self.acting()[-1].facts if self.answers else self.first_facts()

    @property
    def units(self) -> int:
        """How many numbers a row is answered with."""
        return max(int(answer.facts["units"]) for answer in self.acting())

    def held_by(self, model: Any) -> None:
        """Called by a model that ends in the head."""
        self._followed.holders.add(model)

    def changed(self) -> None:
        """Tells the models that what the head means has changed: losses and metrics are stale."""
        for model in list(self._followed.holders):
            model.heads_learned()

    def prepare(self, composition: str | Block | None) -> None:
        """Makes the output layers that a composition needs, and trains these and no others."""
        if not self.answers:
            return
        needed = [self.of(name) for name in owners(composition)]
        for answer in self.answers.values():
            answer.trainable = self.trainable and any(answer is own for own in needed)

    def of(self, owner: str | None) -> Answer:
        """The output layer of an adapter; made where it has none."""
        owner = owner or BARE
        if owner not in (BARE, self._followed.first) and owner not in self.answers:
            if self._followed.first is None:
                self._followed.first = owner
            else:
                trunk = self._followed.trunk
                assert trunk is not None, "only adapters of a trunk have answers of their own"
                with trunk.strategy_scope():
                    self._put(owner, self.first_facts()).trainable = False
        return self._known(owner)

    def _known(self, owner: str) -> Answer:
        """An adapter's output layer, the bare trunk's where it has none of its own."""
        return self.answers.get(owner, self.answers[BARE])

    def forget(self, owner: str) -> None:
        """Drops an adapter's output layer; the first adapter's stays with the model."""
        if owner == self._followed.first:
            self._followed.first = None
        elif owner in self.answers:
            with unlocked(self):
                untrack(self, self.answers.pop(owner))

    def _put(self, owner: str, facts: Mapping[str, Any]) -> Answer:
        with unlocked(self):
            hidden = {} if self.hidden is None else {"hidden": self.hidden}
            made = self.answers[owner] = self.make_answer({**facts, **hidden})
        return made

    def make_answer(self, facts: Mapping[str, Any]) -> Answer:
        """An output layer with fresh values."""
        return Answer(facts, self.width, self.answer_seed)

    @property
    def answer_seed(self) -> int:
        """Decides the initial kernel, the same for every adapter."""
        return derive_seed(self.seed, "head")

    def first_facts(self) -> dict[str, Any]:
        """Facts of the output layer before any data were seen."""
        return {"units": 1}

    # --- Adapters' files -----------------------------------------------------------------------

    def state(self, owner: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts for an adapter's file, and the variables by name; empty before there are any.

        Of an adapter that has only acted in a composition, those of the output layer that answers
        for the composition: it was trained with that one.
        """
        active = self.composition
        inside = isinstance(active, Block) and owner is not None and owner in active.names()
        answer = self._known(owner or BARE)
        if inside and not answer.facts.get("fitted"):
            answer = self.acting()[-1]
        facts = self.saved_facts(answer)
        return facts, {v.name: v for v in answer.weights} if facts else {}

    def note_fit(self) -> None:
        """Called when `fit` begins: the output layers that answer now are trained."""
        for answer in self.acting() if self.has_variables else ():
            answer.facts["fitted"] = True

    def saved_facts(self, answer: Answer) -> dict[str, Any]:
        """What stands about an output layer in an adapter's file; nothing before it is settled."""
        facts = {key: value for key, value in answer.facts.items() if key != "fitted"}
        return {**facts, "kind": self.kind, "pooling": self.pooling}

    def accept(self, facts: Mapping[str, Any], owner: str | None) -> None:
        """Makes an adapter's output layer fit saved facts.

        Raises:
            AdapterError: They are of another kind of head, or stand on another pooling.
        """
        kind = facts.get("kind", "classify")  # files of kzoo 0.1 hold no other
        if kind != self.kind:
            raise AdapterError(
                f"The saved head is of kind {kind}, this model's of kind {self.kind}. Load with "
                "`with_head=False`."
            )
        if facts["pooling"] != self.pooling:
            raise AdapterError(
                f"The saved head stands on {facts['pooling']} pooling, this model's on "
                f"{self.pooling}. Load with `with_head=False`."
            )
        if facts.get("hidden") != self.hidden:
            raise AdapterError(
                f"The saved head has `hidden` {facts.get('hidden')!r}, this model's "
                f"{self.hidden!r}. Load with `with_head=False`."
            )
        self.of(owner)  # the file's values are put there

    # --- Labels, losses, meaning ---------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it has to see training data before it can answer."""
        return False

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """Sees the labels of training data before the first step: classes, scales.

        Args:
            column: n labels.
            names: Names that integer labels index into, where the data have them.

        Raises:
            InputError: Labels that nothing can be learned from.
        """

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """Labels as the loss takes them, (n, *target_shape) of `target_dtype`.

        Raises:
            InputError: A label that does not fit; its row is named.
        """
        return np.asarray(column, self.target_dtype)

    def check_candidates(self, targets: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """Refuses labels that do not fit the candidates of their rows.

        Args:
            targets: What `targets` gave.
            counts: int (n,), how many candidates each row has.

        Raises:
            InputError: A label that does not fit; its row is named.
        """

    def default_loss(self) -> Any:
        """The default loss, as Keras' `compile` takes it."""
        raise NotImplementedError

    def default_metrics(self) -> list[Any]:
        """The default metrics; they may depend on what `learn` has seen."""
        return []

    def default_weighted_metrics(self) -> list[Any]:
        """The default metrics that respect weights."""
        return []

    def whole_scores(self, targets: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
        """Scores that need all rows at once, such as a rank correlation; after `evaluate`."""
        return {}

    def decode(self, outputs: NDArray[Any]) -> Any:
        """What outputs mean: label names, numbers."""
        return np.asarray(outputs)

    def class_weight(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """Weights by label as weights by class id.

        Raises:
            InputError: The head has no classes, or not this one.
        """
        raise InputError(f"`class_weight`: the head `{self.name}` has no classes.")

    # --- Saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the facts of every output layer."""
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "dropout": self.dropout,
            "seed": self.seed,
            "loss_weight": self.loss_weight,
            "hidden": self.hidden,
            "answers": {owner: dict(answer.facts) for owner, answer in self.answers.items()},
            "first": self._followed.first,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuilds a head; its output layers are made when it is called."""
        config = dict(config)
        answers, first = config.pop("answers"), config.pop("first")
        config["dtype"] = keras.dtype_policies.get(config["dtype"])
        head = cls(**config)
        head._followed.saved, head._followed.first = answers, first
        return head


class _Followed:
    """A box that Keras' attribute tracking does not look into."""

    trunk: Trunk | None = None
    first: str | None = None  # the adapter that shares the bare trunk's output layer
    saved: Mapping[str, Any] | None = None  # facts of the output layers in a file

    def __init__(self) -> None:
        self.holders: WeakSet[Any] = WeakSet()


def _trunks_before(x: Any) -> Iterator[Trunk]:
    """The trunks that a symbolic value depends on, each once."""
    found: set[int] = set()
    for operation in operations_before(x):
        if isinstance(operation, keras.layers.Layer):
            for part in every_layer(operation):
                if isinstance(part, Trunk) and id(part) not in found:
                    found.add(id(part))
                    yield part
