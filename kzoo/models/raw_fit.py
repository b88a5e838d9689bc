"""The one `compile`, `fit`, `evaluate` and `predict` for raw data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import PerRow
from kzoo.adapters.acting.prompts import row_prompts
from kzoo.adapters.acting.rows import row_ids
from kzoo.adapters.host import renew_optimizer, trunk_changed
from kzoo.errors import InputError
from kzoo.heads.head import Head
from kzoo.keras_internals import FUNCTIONS
from kzoo.reads import streams
from kzoo.reads.batches import LEARNED, batches
from kzoo.reads.columns import Table, as_list, is_split, label_column, read_table
from kzoo.reads.orders import first_pass
from kzoo.reads.read import Part, Read
from kzoo.strategy import in_strategy_scope
from kzoo.training.optimizer import default_optimizer
from kzoo.training.schedule import WarmupLinearDecay
from kzoo.training.settings import Training
from kzoo.training.xla import resolve_jit


@dataclass(frozen=True)
class Feed:
    """One read of a model and the column it reads.

    Args:
        column: Name of the column.
        read: What encodes it.
        prefix: Put before the names of its inputs, where a batch serves two models.
    """

    column: str
    read: Read
    prefix: str = ""

    def part(self, part: Part) -> Part:
        """A part with the prefix before the names of its inputs."""
        if not self.prefix:
            return part
        return replace(
            part,
            pad=lambda rows, length: {
                self.prefix + key: value for key, value in part.pad(rows, length).items()
            },
        )


class _Request:
    """What `compile` was asked for, where Keras does not find its metrics and report them twice."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments


class RawFit:
    """Raw columns in, `keras.Model`'s methods; stands in front of `keras.Model` in the MRO.

    Whoever has it says what its inputs read and what its outputs are (`feeds`, `input_specs`,
    `heads`, `output_names`, `arrange`); a batch is then encoded once, here, for all of them.
    """

    training_settings: Training
    data_seed: int
    compiled: bool
    optimizer: Any
    jit_compile: bool
    trainable_variables: list[Any]
    _compile_request: _Request | None = None
    _recipe_schedule = False
    _compiled_for: Any = None

    # --- What a model says -------------------------------------------------------------------

    @property
    def feeds(self) -> Sequence[Feed]:
        """What its inputs read."""
        raise NotImplementedError

    @property
    def input_specs(self) -> dict[str, Any]:
        """Input name -> TensorSpec of a batch."""
        raise NotImplementedError

    @property
    def heads(self) -> Mapping[str, Head]:
        """Output name -> head, for the outputs that have one."""
        raise NotImplementedError

    @property
    def output_names_in_order(self) -> Sequence[str]:
        """Names of all outputs."""
        raise NotImplementedError

    def arrange(self, values: Mapping[str, Any]) -> Any:
        """A value for each output, in the structure of the outputs."""
        raise NotImplementedError

    # --- Raw data ----------------------------------------------------------------------------

    def is_raw(self, x: Any) -> bool:
        """Whether x is raw columns or a raw dataset, and not tensors for Keras."""
        if isinstance(x, tf.data.Dataset):
            return self._is_raw_stream(x)[0]
        return self._table(x) is not None

    def _columns(self) -> dict[str, Read]:
        columns: dict[str, Read] = {}
        for feed in self.feeds:
            columns.setdefault(feed.column, feed.read)
        return columns

    def _table(self, x: Any, y: Any = None, sample_weight: Any = None) -> Table | None:
        if x is None or not self.feeds:
            return None
        if self._learns_input and is_split(x):
            x = x.inputs  # its class labels are nothing for a language model
        return read_table(x, y, sample_weight, self._columns(), self.output_names_in_order)

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
        adapter_names: Any = None,
    ) -> Any:
        """Turns raw columns and labels into batches that Keras can fit on.

        Args:
            x: A column, or several: see `fit`.
            y: Labels, where x does not carry them.
            sample_weight: float (n,), where x does not carry it.
            batch_size: Rows a batch. Default: the recipe's.
            shuffle: Shuffle anew in each epoch, by length buckets. Otherwise keep the order.
            first_epoch: Number of the first shuffled order, where training is resumed.
            few_shapes: A handful of padded lengths, as XLA wants them; else as little padding as
                can be.
            by_length: Order the rows by length, for scores that do not depend on the order.
            adapter_names: The adapter of each row, or `__base__`; with `kzoo.PerRow` active. With
                several trunks a dict by their names.

        Returns:
            tf.data.Dataset of (inputs[, labels[, weights]]); for generators and PyDatasets
            another of the kind.

        Raises:
            InputError: No rows, rows of a wrong type, or labels that do not fit.
        """
        if streams.is_stream(x):
            return self._stream(x, batch_size)
        table = self._table(x, y, sample_weight)
        if table is None:
            raise InputError(
                "`x` must be texts: a list or array of strings, pairs, a dataset of kzoo.datasets, "
                "a table with the columns "
                f"{list(self._columns())}, or a tf.data.Dataset of strings. "
                f"Received: {type(x).__name__}"
            )
        options: dict[str, Any]
        options = {"few_shapes": few_shapes, "by_length": by_length, "first_epoch": first_epoch}
        return self._batches(table, batch_size, shuffle, adapter_names, **options)[0]

    def _batches(
        self,
        table: Table,
        batch_size: int | None,
        shuffle: bool = False,
        adapter_names: Any = None,
        predicting: bool = False,
        **options: Any,
    ) -> tuple[Any, NDArray[np.int64]]:
        by_row = self._row_inputs(adapter_names, table.rows)
        parts = self._encode(table, by_row, predicting)
        labels = {} if predicting else self._targets(table)
        size = self.training_settings.batch_size if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"`batch_size` must be at least 1. Received: {size}")
        return batches(
            parts,
            table.rows,
            self._pack,
            self.input_specs,
            labels=labels,
            weights=None if table.weights is None else table.weights.astype("float32"),
            by_row=by_row,
            batch_size=size,
            shuffle=shuffle,
            seed=self.data_seed,
            **options,
        )

    def _encode(
        self, table: Table, by_row: Mapping[str, Any], predicting: bool = False
    ) -> list[Part]:
        parts: list[Part] = []
        learned = self._learns_input and not predicting
        for feed in self.feeds:
            column = table.inputs[feed.column]
            read = feed.read
            if learned and table.labels:  # the second column of pairs
                column = list(zip(column, next(iter(table.labels.values())), strict=True))
            prompts = self._prompts_of_rows(read.trunk, by_row)
            encode = read.encode_learned if learned else read.encode
            parts += [feed.part(part) for part in encode(column, prompts)]
        return parts

    @property
    def _learns_input(self) -> bool:
        return any(head.self_labelled for head in self.heads.values())

    def _targets(self, table: Table) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            if head is not None and head.self_labelled:
                continue
            if name not in table.labels:
                if table.labels:
                    raise InputError(f"`y` has no labels for the output `{name}`.")
                continue
            column = table.labels[name]
            found[name] = column if head is None else head.targets(column, table.names)
        return found

    def _pack(self, inputs: dict[str, Any], labels: dict[str, Any], weights: Any, learned: Any):  # type: ignore[no-untyped-def]
        """One batch as Keras wants it."""
        if not labels and learned is None:
            return inputs
        own_weights: dict[str, Any] = {}
        labels = dict(labels)
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            if head is not None and head.self_labelled:
                labels[name], own_weights[name] = learned
            else:
                own_weights[name] = weights
        if all(value is None for value in own_weights.values()):
            return inputs, _without_lists(self.arrange(labels))
        return (
            inputs,
            _without_lists(self.arrange(labels)),
            _without_lists(self.arrange(own_weights)),
        )

    # --- Streams -------------------------------------------------------------------------------

    def _is_raw_stream(self, x: Any) -> tuple[bool, Any]:
        """Whether a stream is raw, and the stream, whole again."""
        if not self.feeds:
            return False, x
        if isinstance(x, tf.data.Dataset):
            return streams.holds_text(x), x
        first, again = streams.peeked(x)
        return self._table(*streams.unpacked(first)) is not None, again

    def _stream(self, x: Any, batch_size: int | None) -> Any:
        if isinstance(x, tf.data.Dataset):
            size = self.training_settings.batch_size if batch_size is None else batch_size
            raw = streams.batched(x, size)
            return streams.encoded_dataset(raw, self._encode_batch, self._stream_signature(raw))
        if isinstance(x, keras.utils.PyDataset):
            return streams.EncodedPyDataset(x, self._encode_batch)
        return streams.encoded_generator(x, self._encode_batch)

    def _encode_batch(self, x: Any, y: Any, sample_weight: Any) -> Any:
        """One raw batch of a stream as Keras wants it."""
        table = self._table(x, y, sample_weight)
        if table is None:
            raise InputError(f"A batch of `x` holds no columns to read: {type(x).__name__}")
        parts = self._encode(table, {})
        inputs, learned = streams.stream_parts(parts, table.rows)
        weights = None if table.weights is None else table.weights.astype("float32")
        if learned is not None and weights is not None:
            learned = (learned[0], learned[1] * weights[:, None])
        return self._pack(inputs, self._targets(table), weights, learned)

    def _stream_signature(self, raw: Any) -> Any:
        """TensorSpecs of an encoded batch of a dataset."""
        spec = raw.element_spec
        first, *others = spec if isinstance(spec, tuple) else (spec,)
        named = set(first) if isinstance(first, Mapping) else set()
        labels = {}
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            if head is not None and head.self_labelled:
                continue
            if not others and not _labelled(named, self._columns(), name):
                continue
            shape = () if head is None else head.target_shape
            dtype = _label_dtype(others, name) if head is None else head.target_dtype
            labels[name] = tf.TensorSpec((None, *shape), dtype)
        weights = tf.TensorSpec((None,), tf.float32) if len(others) > 1 else None
        learned = LEARNED if self._learns_input else None
        return self._pack(self.input_specs, labels, weights, learned)

    # --- Adapters by row -------------------------------------------------------------------------

    def _row_inputs(self, names: Any, rows: int) -> dict[str, Any]:
        """The further input of each trunk whose rows have adapters of their own."""
        if names is None:
            return {}
        trunks = self.row_trunks
        if not isinstance(names, Mapping):
            if len(trunks) != 1:
                raise InputError(
                    "`adapter_names` must be a dict by trunk: the model has "
                    f"{[trunk.name for trunk in trunks.values()]}."
                )
            return {key: row_ids(t.adapters.composition, names, rows) for key, t in trunks.items()}
        known = {trunk.name: (key, trunk) for key, trunk in trunks.items()}
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"`adapter_names`: there is no trunk {unknown[0]!r}.")
        return {
            known[name][0]: row_ids(known[name][1].adapters.composition, own, rows)
            for name, own in names.items()
        }

    @property
    def row_trunks(self) -> Mapping[str, Any]:
        """Name of the further input -> trunk."""
        return {}

    def _prompts_of_rows(self, trunk: Any, by_row: Mapping[str, Any]) -> Any:
        for key, known in self.row_trunks.items():
            active = known.adapters.composition
            if known is trunk and key in by_row and isinstance(active, PerRow):
                return row_prompts(trunk.sites, active, by_row[key])
        return None

    # --- Compiling ---------------------------------------------------------------------------

    @in_strategy_scope
    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        loss_weights: Any = None,
        jit_compile: bool | str = "auto",
        learning_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with the recipe's and the heads' values for what is left out.

        Args:
            optimizer: Default: Adam (AdamW with weight decay) with the recipe's rate and clipping,
                and linear warm-up and decay over each `fit`.
            loss: Default: the heads'. With several outputs a dict may name some of them.
            metrics: Default: the heads'.
            weighted_metrics: Default: the heads', where `metrics` is left out too.
            loss_weights: Default: the heads'.
            jit_compile: `True`, `False`, or `"auto"`: XLA on GPU and TPU, not on CPU.
            learning_rate: Peak rate of the default optimizer.
            **kwargs: Passed on.

        Raises:
            InputError: An output has neither a head with a loss nor a loss of yours.
        """
        self._compile_request = _Request(
            {
                "optimizer": optimizer,
                "loss": loss,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "loss_weights": loss_weights,
                "jit_compile": jit_compile,
                "learning_rate": learning_rate,
                **kwargs,
            }
        )
        self._recipe_schedule = optimizer is None
        if optimizer is None:
            optimizer = default_optimizer(self.training_settings, learning_rate)
        elif learning_rate is not None:
            raise InputError("`learning_rate` belongs to the default optimizer; pass one of both.")
        if metrics is None and weighted_metrics is None:
            metrics = self._from_heads(lambda head: head.default_metrics())
            weighted_metrics = self._from_heads(lambda head: head.default_weighted_metrics())
        if loss_weights is None and len(self.heads) > 1:
            loss_weights = self.arrange(
                {
                    name: self.heads[name].loss_weight if name in self.heads else 1.0
                    for name in self.output_names_in_order
                }
            )
        self._compiled_for = self._facts_of_heads()
        super().compile(  # type: ignore[misc]
            optimizer=optimizer,
            loss=self._loss_of_outputs(loss),
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            loss_weights=loss_weights,
            jit_compile=resolve_jit(jit_compile),
            **kwargs,
        )

    def _loss_of_outputs(self, loss: Any) -> Any:
        names = self.output_names_in_order
        if len(names) == 1:
            head = self.heads.get(names[0])
            return head.default_loss() if loss is None and head is not None else loss
        if loss is not None and not isinstance(loss, Mapping):
            return loss
        given = dict(loss or {})
        if unknown := [name for name in given if name not in names]:
            raise InputError(f"`loss` has {unknown[0]!r}, which is no output: {list(names)}")
        return self.arrange(
            {
                name: given.get(name)
                or (self.heads[name].default_loss() if name in self.heads else None)
                for name in names
            }
        )

    def _from_heads(self, what: Any) -> Any:
        """Metrics of the heads as Keras takes them, None where there are none."""
        found = {name: what(head) for name, head in self.heads.items()}
        if not any(found.values()):
            return None
        names = self.output_names_in_order
        if len(names) == 1:
            return found[names[0]]
        return self.arrange({name: found.get(name, []) for name in names})

    def _facts_of_heads(self) -> Any:
        return [
            (name, [{**answer.facts, "fitted": True} for answer in head.acting()])
            for name, head in self.heads.items()
            if head.has_variables
        ]

    def trunk_changed(self) -> None:
        """Called by a trunk after a switch of its adapters: see `kzoo.adapters.host`."""
        trunk_changed(self)
        self._heads_changed()

    def _heads_changed(self) -> None:
        """Losses and metrics that depend on classes or scales are made anew; no state is lost."""
        if not self.compiled or self._compile_request is None:
            return
        renew_optimizer(self)  # a head that was resized has other variables
        if self._facts_of_heads() == self._compiled_for:
            return
        schedule, request = self._recipe_schedule, self._compile_request
        made = [name for name in FUNCTIONS if getattr(self, f"{name}_function", None) is not None]
        self.compile(**{**request.arguments, "optimizer": self.optimizer, "learning_rate": None})
        self._compile_request, self._recipe_schedule = request, schedule
        for name in made:  # a running `fit` does not ask for its function again
            getattr(self, f"make_{name}_function")(force=True)

    # --- Keras ---------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        adapter_names: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.fit`, on raw columns too.

        Args:
            x: A column for the one input: texts or pairs (a list of 2-tuples, an (n, 2) array, a
                tuple of two columns), numbers, images. For several inputs a dict by name, or a
                list in their order. Columns are lists, NumPy arrays, pandas or arrow columns; x
                may be a data frame, arrow table, HF dataset, a dataset or split of
                `kzoo.datasets` (its `train` split is fitted, its `validation` split validated on),
                or flow as `tf.data.Dataset`, generator of batches or `keras.utils.PyDataset`. What
                Keras takes works too.
            y: Labels of the one output, or a dict by output name. Default: columns of x.
            batch_size: Default: the recipe's.
            epochs: Default: the recipe's.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_split: Share of the rows, taken from the end, to validate on.
            validation_data: (x, y), (x, y, weights), a split, a table or a tf.data.Dataset.
            shuffle: A new order in each epoch, by length buckets.
            class_weight: Class id or label name -> weight.
            sample_weight: float (n,).
            adapter_names: See `prepare`.
            **kwargs: As in Keras.

        Returns:
            The Keras History.

        Raises:
            InputError: Empty data, one class only, labels that do not fit.
        """
        if hasattr(x, "splits"):
            if validation_data is None and "validation" in x.splits:
                validation_data = x["validation"]
            x = x["train"]
        if streams.is_stream(x):
            raw, x = self._is_raw_stream(x)
            if raw:
                self._learn_stream(x)
                self._compile_once()
                x, batch_size = self._stream(x, batch_size), None
        elif (table := self._table(x, y, sample_weight)) is not None:
            if validation_split:
                table, validation_data = hold_out(table, validation_split, self._columns())
            self._learn(table)
            first = first_pass(self, kwargs.get("initial_epoch", 0))
            self._compile_once()
            options: dict[str, Any]
            options = {"few_shapes": self.jit_compile, "first_epoch": first}
            x, _ = self._batches(table, batch_size, shuffle, adapter_names, **options)
            y = sample_weight = batch_size = None
            validation_split = 0.0
            shuffle = False  # done; Keras would warn that it cannot
        self._compile_once()
        if class_weight is not None and len(self.heads) == 1:
            class_weight = next(iter(self.heads.values())).class_weight(class_weight)
        if validation_data is not None:
            validation_data = self._prepare_validation(validation_data)
        for head in self.heads.values():
            if head.has_variables:
                head.note_fit()
        if self._recipe_schedule:
            callbacks = self.with_schedule(callbacks)
        with streams.own_errors():
            return super().fit(  # type: ignore[misc]
                x,
                y,
                batch_size=batch_size,
                epochs=self.default_epochs if epochs is None else epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                class_weight=class_weight,
                sample_weight=sample_weight,
                **kwargs,
            )

    def _compile_once(self) -> None:
        if not self.compiled:
            self.compile()

    def _learn(self, table: Table) -> None:
        """Lets the heads see the labels of training data."""
        for name, head in self.heads.items():
            if head.self_labelled:
                continue
            if name not in table.labels:
                what = "`y`" if len(self.output_names_in_order) == 1 else f"`y[{name!r}]`"
                raise InputError(f"{what} is missing: fit needs a label for each text.")
            head.learn(np.asarray(table.labels[name]), table.names)
        self.heads_learned()

    def _learn_stream(self, x: Any) -> None:
        """Lets heads that know nothing yet see all labels of a stream, in one pass."""
        wanting = [name for name, head in self.heads.items() if head.is_open]
        if not wanting:
            return
        if not isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
            raise InputError(
                "A generator can be read once only: pass `num_classes=` or `labels=` to the head, "
                "or a tf.data.Dataset or PyDataset."
            )
        for name, column in stream_labels(x, self._columns(), self.output_names_in_order).items():
            if name in wanting:
                self.heads[name].learn(column)
        self.heads_learned()

    def heads_learned(self) -> None:
        """Called after the heads have seen labels."""
        self._heads_changed()

    @property
    def default_epochs(self) -> int:
        """The recipe's epochs."""
        return self.training_settings.epochs

    @property
    def uses_recipe_schedule(self) -> bool:
        """Whether the model was compiled with the recipe's optimizer."""
        return self._recipe_schedule

    def with_schedule(self, callbacks: Any) -> Any:
        """Keras callbacks with the recipe's warm-up and decay in front."""
        schedule = WarmupLinearDecay(self.training_settings.warmup)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(schedule)
            return callbacks
        several = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        return [schedule, *(c for c in several if c is not None)]

    def _prepare_validation(self, data: Any) -> Any:
        parts = data if isinstance(data, tuple) and not is_split(data) else (data,)
        if streams.is_stream(data):
            raw, data = self._is_raw_stream(data)
            return self._stream(data, None) if raw else data
        if self._table(parts[0]) is None:
            return data
        x, y, weights = (*parts, None, None)[:3]
        return self.prepare(x, y, weights, few_shapes=self.jit_compile, by_length=True)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        adapter_names: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.evaluate`, on raw columns too; see `fit` for what it takes.

        Scores of a head that need all rows at once (a rank correlation) stand behind the metrics.
        """
        if hasattr(x, "splits"):
            x = x["test"]
        if streams.is_stream(x):
            raw, x = self._is_raw_stream(x)
            if raw:
                self._check_open()
                self._compile_once()
                x, batch_size = self._stream(x, batch_size), None
        elif self._table(x) is not None:
            self._check_open()
            self._compile_once()
            options = {"few_shapes": self.jit_compile, "adapter_names": adapter_names}
            x = self.prepare(x, y, sample_weight, batch_size, by_length=True, **options)
            y = sample_weight = batch_size = None
        with streams.own_errors():
            found = super().evaluate(  # type: ignore[misc]
                x, y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight, **kwargs
            )
        more = self._whole_scores(x)
        if not more:
            return found
        if isinstance(found, dict):
            return {**found, **more}
        return [*(found if isinstance(found, list) else [found]), *more.values()]

    def _whole_scores(self, x: Any) -> dict[str, float]:
        wanting = {
            name: head
            for name, head in self.heads.items()
            if type(head).whole_scores is not Head.whole_scores
        }
        if not wanting or not isinstance(x, tf.data.Dataset):
            return {}
        if not isinstance(x.element_spec, tuple):
            return {}
        labels: dict[str, list[Any]] = {name: [] for name in wanting}
        outputs: dict[str, list[Any]] = {name: [] for name in wanting}
        for inputs, y, *_ in x:
            given = self.by_output(y)
            # Not `predict_on_batch`, which gives a row for each replica of a strategy.
            answered = self.by_output(self(inputs, training=False))  # type: ignore[operator]
            for name in wanting:
                labels[name].append(np.asarray(given[name]))
                outputs[name].append(np.asarray(answered[name]))
        scores: dict[str, float] = {}
        for name, head in wanting.items():
            own = head.whole_scores(np.concatenate(labels[name]), np.concatenate(outputs[name]))
            prefix = "" if len(self.output_names_in_order) == 1 else f"{name}_"
            scores |= {prefix + key: value for key, value in own.items()}
        return scores

    def by_output(self, values: Any) -> dict[str, Any]:
        """Values in the structure of the outputs, by output name."""
        flat = keras.tree.flatten(values)
        return dict(zip(self._flat_names(), flat, strict=True))

    def _flat_names(self) -> list[str]:
        """Names of the outputs in the order in which their structure is flattened."""
        names = self.output_names_in_order
        return [str(name) for name in keras.tree.flatten(self.arrange({n: n for n in names}))]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        adapter_names: Any = None,
    ) -> Any:
        """As `keras.Model.predict`, on raw columns too; rows come back in the order given.

        `adapter_names` is the adapter of each row, or `__base__`, with `kzoo.PerRow` active.
        """
        self._check_open()
        if streams.is_stream(x):
            raw, x = self._is_raw_stream(x)
            if raw:
                x, batch_size = self._stream(x, batch_size), None
            with streams.own_errors():
                return super().predict(x, batch_size, verbose, steps, callbacks)  # type: ignore[misc]
        table = self._table(x)
        if table is None:
            return super().predict(x, batch_size, verbose, steps, callbacks)  # type: ignore[misc]
        # Similar lengths together waste no padding; the order is restored afterwards.
        dataset, order = self._batches(
            table,
            batch_size,
            adapter_names=adapter_names,
            predicting=True,
            few_shapes=self.jit_compile,
            by_length=True,
        )
        with streams.own_errors():
            found = super().predict(dataset, None, verbose, steps, callbacks)  # type: ignore[misc]
        back = np.argsort(order, kind="stable")
        return keras.tree.map_structure(lambda value: value[back], found)

    def _check_open(self) -> None:
        for head in self.heads.values():
            if head.is_open:
                raise InputError(
                    "`num_classes` is not known yet. Call fit, or pass `num_classes=` or "
                    "`labels=` to kzoo.load or the head."
                )

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles as the saved model was, its schedule and optimizer state included."""
        schedule = self._recipe_schedule
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
        self._recipe_schedule = schedule


def hold_out(table: Table, share: float, reads: Mapping[str, Read]) -> tuple[Table, Any]:
    """Takes the last rows away for validation.

    Args:
        table: Columns with labels.
        share: Share of the rows to hold out.
        reads: Column name -> read.

    Returns:
        What is left, and (x, y[, weights]) held out.

    Raises:
        InputError: No labels, or a share that leaves no rows on one side.
    """
    if not table.labels and not any(read.kind == "language" for read in reads.values()):
        raise InputError("`validation_split` needs texts in memory, with labels.")
    cut = table.rows - int(table.rows * share)
    if not 0 < cut < table.rows:
        raise InputError(
            f"`validation_split` {share} leaves no rows on one side of {table.rows} texts."
        )

    def named(column: Any) -> Any:
        column = np.asarray(column)
        return column if table.names is None else np.asarray(table.names, dtype=str)[column]

    labels = {name: named(column) for name, column in table.labels.items()}
    weights = table.weights
    left = Table(
        {name: _part(column, slice(0, cut)) for name, column in table.inputs.items()},
        {name: column[:cut] for name, column in labels.items()},
        None if weights is None else weights[:cut],
        None,
        cut,
    )
    held = (
        {name: _part(column, slice(cut, None)) for name, column in table.inputs.items()},
        {name: column[cut:] for name, column in labels.items()} or None,
        *([] if weights is None else [weights[cut:]]),
    )
    return left, held


def _part(column: Any, rows: slice) -> Any:
    if isinstance(column, tuple) and len(column) == 2 and not isinstance(column[0], str):
        return tuple(as_list(side)[rows] for side in column)
    return column[rows]


def stream_labels(x: Any, reads: Mapping[str, Read], outputs: Sequence[str]) -> dict[str, Any]:
    """All labels of a stream with an end, in one pass.

    Raises:
        InputError: No labels, no rows, or no end.
    """
    if isinstance(x, tf.data.Dataset):
        if int(x.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise InputError("`num_classes` must be passed to kzoo.load for an endless dataset.")
        spec = x.element_spec
        single = (not isinstance(spec, tuple) or len(spec) < 2) and not isinstance(
            spec[0] if isinstance(spec, tuple) else spec, Mapping
        )
        if single:
            raise InputError("`x` as a tf.data.Dataset must yield (text, label) for fit.")
        elements = x.as_numpy_iterator()
    else:
        elements = (x[number] for number in range(len(x)))
    found: dict[str, list[Any]] = {}
    for element in elements:
        inputs, y, _ = streams.unpacked(element)
        named = y if isinstance(y, Mapping) else {outputs[0]: y} if y is not None else inputs
        if not isinstance(named, Mapping):
            raise InputError("`x` as a stream must yield (text, label) for fit.")
        for name in outputs:
            usual = [name, *("label", "labels", "target", "y")]
            own = next((named[key] for key in usual if key in named), None)
            if own is not None:
                found.setdefault(name, []).append(np.atleast_1d(own))
    if not found:
        raise InputError("`x` is empty. At least one text of each class is needed.")
    columns = {name: np.concatenate(own) for name, own in found.items()}
    return {name: label_column(own, len(own), name) for name, own in columns.items()}


def _without_lists(values: Any) -> Any:
    """Lists as tuples: tf.data takes a list for one tensor."""
    if isinstance(values, Mapping):
        return {key: _without_lists(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return tuple(_without_lists(value) for value in values)
    return values


def _labelled(named: set[str], reads: Mapping[str, Read], output: str) -> bool:
    """Whether an element of a stream has a column of labels beside those that are read."""
    return output in named or bool(named & {"label", "labels", "target", "y"} - set(reads))


def _label_dtype(others: Sequence[Any], name: str) -> Any:
    spec = others[0] if others else None
    if isinstance(spec, Mapping):
        spec = spec.get(name)
    return getattr(spec, "dtype", tf.float32)
