"""`kzoo.Model`: a functional Keras model: its inputs read raw columns, its outputs are heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from kzoo.adapters.acting.composition import Parallel, PerRow
from kzoo.adapters.acting.rows import ROW_INPUT, by_child, every_child
from kzoo.adapters.manager import Adapters
from kzoo.backbones.text import TextProcessor
from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.head import Head
from kzoo.keras_internals import (
    change_shape,
    every_layer,
    graph_freed_with,
    history,
    outputs_structure,
    renew_functions,
    tensors_taken,
)
from kzoo.models.chunked import chunked_step
from kzoo.models.graph import (
    aligned_columns,
    feeds_of_inputs,
    heads_of,
    mapped,
    output_name,
    reads_pooled,
)
from kzoo.models.raw_fit import Feed, RawFit
from kzoo.reads import READS
from kzoo.reads.read import Read
from kzoo.saving import import_plugins
from kzoo.strategy import in_strategy_scope
from kzoo.training.settings import Training
from kzoo.trunk.layer import Trunk


@keras.saving.register_keras_serializable(package="kzoo")
class Model(RawFit, keras.Model):  # type: ignore[misc]
    """A functional Keras model that fits on raw columns.

    Any Keras graph from inputs to outputs. Inputs that were made by `kzoo.TextInput` and the like
    read raw columns of their name; plain `keras.Input`s read numbers. Outputs that come from a
    `kzoo.heads.Head` bring labels, loss, metrics and decoding. What is neither behaves as in Keras.
    A `.keras` file holds all of it, trunks and adapters included, and needs neither the original
    weights nor a network; load it with `keras.models.load_model` after `import kzoo`.

    Args:
        inputs: One input (what `kzoo.TextInput` gives, or a KerasTensor), a list of them, or a
            dict by name.
        outputs: KerasTensors in the same forms.
        name: Keras name.
        training: Defaults of `fit`: a `Training`, or a dict of its arguments.
        seed: Decides the order of the data. Default: that of the first trunk, else 0.
        recipe: The recipe that it was made from, as data; kept in its config.

    Attributes:
        trunks: Name -> `kzoo.Trunk`, of all in it, however deep.
        heads: Output name -> head.
        reads: Column name -> read.

    Raises:
        InputError: Two inputs of one name, or a read whose trunk is no part of the model.

    Example:
        >>> trunk = kzoo.Trunk("minilm-l6")
        >>> text, price = kzoo.TextInput(trunk, name="text"), keras.Input((1,), name="price")
        >>> vector = kzoo.heads.Embed()(trunk(text))
        >>> both = keras.layers.Concatenate()([vector, price])
        >>> model = kzoo.Model([text, price], kzoo.heads.Classify(name="topic")(both))
        >>> model.fit({"text": texts, "price": prices}, topics)
    """

    head_kind: ClassVar[str] = "classify"

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        *,
        training: Training | Mapping[str, Any] | None = None,
        seed: int | None = None,
        recipe: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        flat = keras.tree.flatten(inputs)
        named = {tensor.name: tensor for tensor in flat}
        if len(named) != len(flat):
            raise InputError(
                "Two inputs have the same name. Give each a `name`, as in "
                "kzoo.TextInput(trunk, name='question')."
            )
        super().__init__(inputs=named, outputs=outputs, name=name, **kwargs)
        self.training_settings = (
            training if isinstance(training, Training) else Training(**(training or {}))
        )
        found = [layer for layer in every_layer(self) if isinstance(layer, Trunk)]
        self._plain = _Plain()
        self._plain.trunks = {trunk.name: trunk for trunk in found}
        self._plain.heads = heads_of(self.outputs)
        for head in self._plain.heads.values():
            head.held_by(self)
        self._plain.recipe = None if recipe is None else dict(recipe)
        self._plain.feeds = list(feeds_of_inputs(named, found))
        self._plain.aligned = aligned_columns(self.outputs)
        self.data_seed = seed if seed is not None else (found[0].seed if found else 0)
        for trunk in found:
            trunk.holders.add(self)
            trunk.use_pooler(self._reads_pooler(trunk))
        self._plain.names = [
            output_name(tensor, number) for number, tensor in enumerate(self.outputs)
        ]
        self.weigh_losses()

    @classmethod
    def on(
        cls,
        trunk: Any,
        head: Head | Mapping[str, Any] | None = None,
        *,
        training: Training | Mapping[str, Any] | None = None,
        name: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Self:
        """A head on a trunk: one column in, one output.

        Args:
            trunk: A `kzoo.Trunk`, or what makes one.
            head: A head, or the arguments of one (`kind` and its options). Default: the class's.
            training: Defaults of `fit`.
            name: Keras name.
            recipe: See the class.
        """
        if not isinstance(trunk, Trunk):
            trunk = Trunk(trunk)
        cls.check_trunk(trunk)
        ending: Any = head
        if not isinstance(head, Head):
            options = {"kind": cls.head_kind, "seed": trunk.seed, "name": "head", **(head or {})}
            ending = HEADS.get(options.pop("kind"))(**options)
        inputs, states = ending.on_trunk(trunk)
        return cls(inputs, ending(states), name, training=training, seed=trunk.seed, recipe=recipe)

    @classmethod
    def check_trunk(cls, trunk: Trunk) -> None:
        """Refuses a trunk that the class cannot stand on."""

    # --- Parts -------------------------------------------------------------------------------

    @property
    def trunks(self) -> Mapping[str, Trunk]:
        """Name -> trunk, of all in the model."""
        return MappingProxyType(self._plain.trunks)

    @property
    def trunk(self) -> Trunk:
        """The one trunk.

        Raises:
            InputError: There is none, or there are several: see `trunks`.
        """
        if len(self.trunks) != 1:
            raise InputError(
                f"The model has {len(self.trunks)} trunks: {list(self.trunks)}. Name one: "
                "model.trunks[name]."
            )
        return next(iter(self.trunks.values()))

    @property
    def adapters(self) -> Adapters:
        """The adapters of the one trunk."""
        return self.trunk.adapters

    @property
    def text(self) -> TextProcessor | None:
        """The text processor of the one trunk."""
        feeds = [feed.read for feed in self.feeds if hasattr(feed.read, "text")]
        return feeds[0].text if len(feeds) == 1 else self.trunk.text

    @property
    def backbone(self) -> Any:
        """KerasHub's backbone in the one trunk."""
        return self.trunk.backbone

    @property
    def reads(self) -> Mapping[str, Read]:
        """Column name -> read."""
        return {feed.column: feed.read for feed in self.feeds}

    @property
    def head(self) -> Head:
        """The one head.

        Raises:
            InputError: There is none, or there are several: see `heads`.
        """
        if len(self.heads) != 1:
            raise InputError(
                f"The model has {len(self.heads)} heads: {list(self.heads)}. Name one: "
                "model.heads[name]."
            )
        return next(iter(self.heads.values()))

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """The recipe that the model was made from."""
        return self._plain.recipe

    # --- What RawFit asks for ------------------------------------------------------------------

    @property
    def feeds(self) -> Sequence[Feed]:
        """See `RawFit`."""
        return self._plain.feeds

    @property
    def heads(self) -> Mapping[str, Head]:
        """Output name -> head, for the outputs that have one."""
        return MappingProxyType(self._plain.heads)

    @property
    def aligned(self) -> Mapping[str, str]:
        """See `RawFit`."""
        return self._plain.aligned

    @property
    def input_specs(self) -> dict[str, Any]:
        """See `RawFit`."""
        return {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
            for name, tensor in self.input.items()
        }

    @property
    def output_names_in_order(self) -> Sequence[str]:
        """See `RawFit`."""
        return self._plain.names

    def arrange(self, values: Mapping[str, Any]) -> Any:
        """See `RawFit`."""
        structure = outputs_structure(self)
        if not keras.tree.is_nested(structure):
            return values.get(self._plain.names[0])
        names = {id(t): n for t, n in zip(self.outputs, self._plain.names, strict=True)}
        return mapped(structure, lambda tensor: values.get(names[id(tensor)]))

    @property
    def row_trunks(self) -> Mapping[str, Trunk]:
        """See `RawFit`."""
        if len(self.trunks) == 1:
            return {ROW_INPUT: self.trunk}
        return {f"{name}_{ROW_INPUT}": trunk for name, trunk in self.trunks.items()}

    def _reads_pooler(self, trunk: Trunk) -> bool:
        """Whether somebody in the graph reads the trunk's pooled vector.

        A head says so; of any other layer that gets it, it is taken for granted.
        """
        if not trunk.has_pooler:
            return False
        if trunk not in self.layers:
            return True  # inside of a layer of somebody else's
        for operation in self.operations:
            for tensor in tensors_taken(operation):
                if getattr(tensor, "kzoo_pooled", None) == trunk.name and reads_pooled(operation):
                    return True
        return any(getattr(t, "kzoo_pooled", None) == trunk.name for t in self.outputs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs the graph.

        Args:
            inputs: Inputs by name; with `kzoo.PerRow` active also `adapter_ids`, int32 (rows,):
                number of the child, -1 for no adapter.
            training: Whether dropout is on.
            mask: As in Keras.
        """
        with ExitStack() as running:
            parallel = None
            if isinstance(inputs, Mapping):
                inputs = dict(inputs)
                for key, trunk in self.row_trunks.items():
                    ids = inputs.pop(key, None)
                    active = trunk.adapters.composition
                    if ids is not None and not isinstance(active, PerRow):
                        raise InputError(
                            "`adapter_names` needs the composition kzoo.PerRow. "
                            "Run: model.adapters.activate(kzoo.PerRow('a', 'b'))"
                        )
                    if isinstance(active, Parallel):
                        if parallel is not None or len(self.trunks) > 1:
                            raise InputError("Parallel runs in a model with one trunk.")
                        parallel = active
                        inputs, ids = every_child(active, inputs)
                    if ids is not None:
                        # Before training on several replicas Keras calls the model on a mean of
                        # their inputs.
                        ids = keras.ops.cast(ids, "int32")
                        running.enter_context(trunk.sites.ids.during(ids))
            outputs = super().call(inputs, training=training, mask=mask)
        return outputs if parallel is None else by_child(parallel, outputs)

    def train_step(self, data: Any) -> Any:
        """As in Keras, or chunk by chunk where the settings say so."""
        graph_freed_with(self)
        size = self.training_settings.chunk_size
        return super().train_step(data) if size is None else chunked_step(self, data, size)

    def test_step(self, data: Any) -> Any:
        """As in Keras."""
        graph_freed_with(self)
        return super().test_step(data)

    # --- Changes -----------------------------------------------------------------------------

    def freeze_trunk(self) -> None:
        """Freezes the one trunk and switches its dropout off."""
        self.trunk.freeze()

    def unfreeze_trunk(self) -> None:
        """Makes the one trunk trainable, with its dropout."""
        self.trunk.unfreeze()

    def quantize(self, mode: Any = None, config: Any = None, filters: Any = None, **kw: Any) -> Any:
        """As `keras.Model.quantize`; unless `filters` say otherwise, of the trunks only.

        Adapters, heads and fusion layers keep their float32 and go on learning: QLoRA (Dettmers et
        al. 2023, arXiv:2305.14314).
        """
        if filters is None:
            trunks = self.trunks.values()
            inside = {id(layer) for trunk in trunks for layer in every_layer(trunk.backbone)}

            def filters(layer: Any) -> bool:
                return id(layer) in inside

        super().quantize(mode, config, filters, **kw)
        for trunk in self.trunks.values():
            trunk.adapters_changed()

    @in_strategy_scope
    def _heads_changed(self) -> None:
        for tensor in self.outputs:
            made = history(tensor)
            if made is not None and isinstance(made[0], Head) and made[0].has_variables:
                head = made[0]
                if head.built and tensor.shape[-1] != head.units:
                    # The graph ends in the head, so that this one shape is all that changes.
                    change_shape(tensor, (*tensor.shape[:-1], head.units))
                    renew_functions(self)
        super()._heads_changed()

    # --- Meaning -------------------------------------------------------------------------------

    def decode(self, outputs: Any) -> Any:
        """What the outputs of `predict` mean, by their heads: label names, numbers, vectors."""
        decoded = {
            name: self.heads[name].decode(value) if name in self.heads else value
            for name, value in self.by_output(outputs).items()
        }
        return self.arrange(decoded)

    # --- Saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """JSON-ready facts from which `from_config` rebuilds the model, weights apart."""
        return {
            "name": self.name,
            "graph": super().get_config(),
            "reads": {
                feed.column: {
                    "kind": feed.read.kind,
                    "keys": list(feed.read.keys),
                    "trunk": getattr(feed.read.trunk, "name", None),
                    "config": feed.read.config(),
                }
                for feed in self.feeds
            },
            "training": self.training_settings.model_dump(),
            "seed": self.data_seed,
            "recipe": self._plain.recipe,
            "recipe_schedule": self._recipe_schedule,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds a model from `get_config`, with random weights."""
        if "graph" not in config:
            raise InputError(
                "The file was written by kzoo 0.1, whose models are not read any more. Load the "
                "zoo entry, and the adapter from its folder (model.adapters.load)."
            )
        import_plugins(config)
        graph = keras.Model.from_config(dict(config["graph"]), custom_objects)
        trunks = {t.name: t for t in every_layer(graph) if isinstance(t, Trunk)}
        for column, read in config["reads"].items():
            tensors = {key: graph.input[key] for key in read["keys"]}
            trunk = trunks.get(read["trunk"])
            READS.get(read["kind"]).attach(column, tensors, trunk, read["config"])
        model = cls(
            graph.input,
            outputs_structure(graph),
            config["name"],
            training=config["training"],
            seed=config["seed"],
            recipe=config["recipe"],
        )
        model._recipe_schedule = config["recipe_schedule"]
        return model


class _Plain:
    """A box that Keras' attribute tracking does not look into."""

    trunks: dict[str, Trunk]
    heads: dict[str, Head]
    feeds: list[Feed]
    aligned: dict[str, str]
    names: list[str]
    recipe: dict[str, Any] | None
