"""`kzoo.Model`: a functional Keras model that takes raw strings and carries adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np

from kzoo.adapters.composition import Block, Parallel, PerRow
from kzoo.adapters.injection import Sites
from kzoo.adapters.manager import Adapters
from kzoo.adapters.prompts import positions_used, prompts_of, row_prompts
from kzoo.adapters.rows import ROW_INPUT, by_child, every_child, row_ids
from kzoo.backbones.architecture import Architecture
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import family_named
from kzoo.backbones.loading import Trunk
from kzoo.backbones.text import TextProcessor
from kzoo.backbones.trunk import build, config_of, seed_dropout, set_trainable
from kzoo.errors import InputError, WeightsError
from kzoo.models.inputs import Rows, rows_of
from kzoo.models.spec import ModelSpec
from kzoo.strategy import in_strategy_scope, strategy_scope
from kzoo.training.batches import batches, is_text_dataset, streamed


class Model(keras.Model):  # type: ignore[misc]
    """A pretrained trunk with adapters and a head, in one functional graph.

    Subclasses give the head. `get_config` returns the recipe's facts and the architecture, and
    `from_config` rebuilds the trunk, injects the adapters again and lets Keras load the weights,
    so that a `.keras` file needs neither the original weights nor a network.

    Args:
        trunk: Built backbone with tokenizer.
        spec: Everything else that is data.
        name: Keras name.

    Attributes:
        adapters: Named adapters: add, activate, deactivate, delete, save, load, summary.
        text: The text processor: `encode`, `tokenize`, `fingerprint`.
        spec: The model's data.
    """

    def __init__(self, trunk: Trunk, spec: ModelSpec, name: str | None = None) -> None:
        if spec.head.pooling == "pooler" and not trunk.pooler:
            raise WeightsError(
                f"`pooling` 'pooler': the weights of {trunk.origin} have no pooler. "
                "Use `pooling='cls'` or 'mean'."
            )
        # Taken before any injection: the config has to rebuild the bare trunk.
        config = config_of(trunk.backbone)
        inputs = trunk.backbone.input
        super().__init__(
            inputs=inputs,
            outputs=self.make_outputs(trunk.backbone, spec),
            name=name or spec.recipe.replace("-", "_"),
        )
        self.backbone = trunk.backbone
        self.family = trunk.family
        self.architecture = trunk.architecture
        self.origin = trunk.origin
        self.spec = spec
        self.text = TextProcessor(trunk.tokenizer_json, trunk.family, spec.max_tokens)
        # In a plain object, or Keras would track (and save) the variables twice.
        self._trunk_facts = _TrunkFacts(config, list(trunk.backbone.weights))
        self.sites = Sites(
            trunk.family.places(trunk.backbone),
            self.text.token_ids,
            idle=() if self._uses_pooler else ("pooler",),
        )
        self.adapter_store = self.sites.store  # tracked here: Keras trains and saves what is in it
        self._manager = Adapters(self)
        self._compile_request: dict[str, Any] | None = None
        seed_dropout(self.backbone, spec.seed)
        self._apply_trunk()

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """The symbolic outputs on top of the backbone's graph."""
        raise NotImplementedError

    # --- Parts -----------------------------------------------------------------------------

    @property
    def adapters(self) -> Adapters:
        """The adapter manager."""
        return self._manager

    @property
    def seed(self) -> int:
        """The seed of the model."""
        return self.spec.seed

    @property
    def trunk_variables(self) -> list[Any]:
        """The trunk's own variables, in the order in which they were built."""
        return list(self._trunk_facts.variables)

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The scope of the `tf.distribute` strategy under which the model was made, if any."""
        return strategy_scope(self)

    def trunk_facts(self) -> dict[str, Any]:
        """What stands about the trunk in saved adapters."""
        return {
            "family": self.family.name,
            "dims": Dims.of(self.backbone).model_dump(),
        }

    def freeze_trunk(self) -> None:
        """Freezes the trunk and switches its dropout off. Compile or fit afterwards."""
        self._set_trunk("frozen")

    def unfreeze_trunk(self) -> None:
        """Makes the trunk trainable, with its dropout. Compile or fit afterwards."""
        self._set_trunk("trainable")

    def _set_trunk(self, trunk: str) -> None:
        self.spec = self.spec.model_copy(update={"trunk": trunk})
        self._apply_trunk()
        self.adapters_changed()

    def _apply_trunk(self) -> None:
        trainable = self.spec.trunk == "trainable"
        set_trainable(self.backbone, trainable, pooler=self._uses_pooler)

    @property
    def _uses_pooler(self) -> bool:
        return self.spec.head.pooling == "pooler"

    def prepare_composition(self, composition: str | Block | None) -> None:
        """Tells the text processor which virtual tokens inputs need from now on."""
        longest = None
        used = positions_used(self.sites, composition)
        table = getattr(self.backbone, "max_sequence_length", None)  # rotary ones have no end
        if used and table is not None:
            longest = table - used
        self.text.use_prompts(prompts_of(self.sites, composition), longest)

    @in_strategy_scope
    def adapters_changed(self) -> None:
        """Drops compiled functions, which would answer for the old graph, and the optimizer."""
        self.train_function = None
        self.test_function = None
        self.predict_function = None
        if self._compile_request is not None and self.compiled:
            request = dict(self._compile_request)
            if isinstance(request.get("optimizer"), keras.optimizers.Optimizer):
                fresh = request["optimizer"]
                request["optimizer"] = type(fresh).from_config(fresh.get_config())
            self.compile(**request)

    def head_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts and variables of the head; none for a model without one."""
        return {}, {}

    def accept_head(self, facts: dict[str, Any]) -> None:
        """Makes the head fit facts that `head_state` of another model returned."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs the graph.

        Args:
            inputs: The backbone's inputs by name; with `kzoo.PerRow` active also `adapter_ids`,
                int32 (rows,): number of the child, -1 for no adapter.
            training: Whether dropout is on.
            mask: As in Keras.
        """
        active = self.adapters.composition
        ids = None
        if isinstance(inputs, Mapping) and ROW_INPUT in inputs:
            inputs = dict(inputs)
            # Before training on several replicas Keras calls the model on a mean of their inputs.
            ids = keras.ops.cast(inputs.pop(ROW_INPUT), "int32")
        if isinstance(active, Parallel):
            inputs, ids = every_child(active, inputs)
        elif isinstance(active, PerRow) and ids is None:
            raise InputError(
                "The composition PerRow needs to know each row's adapter: pass `adapter_names=` to "
                f"predict, fit or prepare, or the input `{ROW_INPUT}`."
            )
        elif ids is not None and not isinstance(active, PerRow):
            raise InputError(
                "`adapter_names` needs the composition kzoo.PerRow. "
                "Run: model.adapters.activate(kzoo.PerRow('a', 'b'))"
            )
        with self.sites.ids.during(ids):
            outputs = super().call(inputs, training=training, mask=mask)
        return by_child(active, outputs) if isinstance(active, Parallel) else outputs

    # --- Data ------------------------------------------------------------------------------

    def is_text(self, x: Any) -> bool:
        """Whether x is raw text in one of the accepted forms (and not tensors for Keras)."""
        return rows_of(x) is not None or is_text_dataset(x)

    def prepare(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        shuffle: bool = False,
        first_epoch: int = 0,
        few_shapes: bool = True,
        by_length: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> Any:
        """Turns raw text and labels into batches that Keras can fit on.

        Args:
            x: Texts: a list or array of strings; pairs as a list of 2-tuples, an (n, 2) array or a
                tuple of two columns; a `kzoo.datasets` split; or a `tf.data.Dataset` of text or
                (text, label[, weight]).
            y: Labels, where x does not carry them.
            sample_weight: float (n,), where x does not carry it.
            batch_size: Rows a batch. Default: the recipe's.
            shuffle: Shuffle anew in each epoch, by length buckets. Otherwise keep the order.
            first_epoch: Number of the first shuffled order, where training is resumed.
            few_shapes: A handful of padded lengths, as XLA wants them; else as little padding as
                can be.
            by_length: Order the rows by length, for scores that do not depend on the order.
            adapter_names: The adapter of each row, or `__base__`; with `kzoo.PerRow` active.

        Returns:
            tf.data.Dataset of (inputs[, labels[, weights]]).

        Raises:
            InputError: No rows, rows of a wrong type, or labels that do not fit.
        """
        batch_size = batch_size or self.spec.training.batch_size
        if is_text_dataset(x):
            return streamed(self.text, x, batch_size, self.stream_label_ids(x))
        rows = rows_of(x, y, sample_weight)
        if rows is None:
            raise InputError(
                "`x` must be texts: a list or array of strings, pairs, a dataset of kzoo.datasets "
                f"or a tf.data.Dataset of strings. Received: {type(x).__name__}"
            )
        if len(rows.texts) == 0:
            raise InputError("`x` is empty. At least one text is needed.")
        columns = []
        if rows.labels is not None:
            columns.append(self.label_ids(rows))
        if rows.weights is not None:
            columns.append(rows.weights.astype("float32"))
        by_row = self._row_inputs(adapter_names, len(rows.texts))
        encoded = self.text.tokenize(rows.texts, self._row_prompts(by_row))
        return batches(
            self.text,
            encoded,
            columns,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self.seed,
            order=np.argsort(encoded.lengths, kind="stable") if by_length else None,
            first_epoch=first_epoch,
            few_shapes=few_shapes,
            by_row=by_row,
        )

    def _row_inputs(self, names: Sequence[str] | None, rows: int) -> dict[str, Any]:
        if names is None:
            return {}
        return {ROW_INPUT: row_ids(self.adapters.composition, names, rows)}

    def _row_prompts(self, by_row: Mapping[str, Any]) -> Any:
        active = self.adapters.composition
        if not by_row or not isinstance(active, PerRow):
            return None
        return row_prompts(self.sites, active, by_row[ROW_INPUT])

    def label_ids(self, rows: Rows) -> np.ndarray[Any, Any]:
        """Labels as Keras wants them: (n,) array."""
        return np.asarray(rows.labels)

    def stream_label_ids(self, dataset: Any) -> Any:
        """A function for labels of a `tf.data.Dataset`, or None to keep them."""
        return None

    # --- Keras -----------------------------------------------------------------------------

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        adapter_names: Sequence[str] | None = None,
    ) -> Any:
        """As `keras.Model.predict`, on raw text too; rows come back in the order given.

        `adapter_names` is the adapter of each row, or `__base__`, with `kzoo.PerRow` active.
        """
        if not self.is_text(x):
            return super().predict(x, batch_size, verbose, steps, callbacks)
        if is_text_dataset(x):
            return super().predict(
                self.prepare(x, batch_size=batch_size), None, verbose, steps, callbacks
            )
        rows = rows_of(x)
        assert rows is not None
        if len(rows.texts) == 0:
            raise InputError("`x` is empty. At least one text is needed.")
        # Similar lengths together waste no padding; the order is restored afterwards.
        by_row = self._row_inputs(adapter_names, len(rows.texts))
        encoded = self.text.tokenize(rows.texts, self._row_prompts(by_row))
        order = np.argsort(encoded.lengths, kind="stable")
        size = batch_size or self.spec.training.batch_size
        dataset = batches(
            self.text,
            encoded,
            batch_size=size,
            order=order,
            few_shapes=self.jit_compile,
            by_row=by_row,
        )
        found = super().predict(dataset, None, verbose, steps, callbacks)
        back = np.argsort(order, kind="stable")
        return keras.tree.map_structure(lambda value: value[back], found)

    def get_config(self) -> dict[str, Any]:
        """JSON-ready facts from which `from_config` rebuilds the model, weights apart."""
        return {
            "name": self.name,
            "spec": self.spec.model_dump(mode="json"),
            "trunk": {
                "family": self.family.name,
                "config": dict(self._trunk_facts.config),
                "architecture": self.architecture.model_dump(mode="json"),
                "tokenizer_json": self.text.tokenizer_json,
                "origin": self.origin,
            },
            "adapters": self.adapters.state(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds a model from `get_config`, with random weights."""
        facts = config["trunk"]
        architecture = Architecture(**facts["architecture"])
        trunk = Trunk(
            backbone=build(facts["family"], facts["config"], architecture),
            family=family_named(facts["family"]),
            architecture=architecture,
            tokenizer_json=facts["tokenizer_json"],
            origin=facts["origin"],
        )
        model = cls(trunk, ModelSpec(**config["spec"]), name=config["name"])
        model.adapters.restore(config["adapters"])
        return model


@dataclass
class _TrunkFacts:
    """A box that Keras' attribute tracking does not look into."""

    config: dict[str, Any]
    variables: list[Any]
