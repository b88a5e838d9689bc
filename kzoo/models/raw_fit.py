"""The one `fit`, `evaluate` and `predict` for raw data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.errors import InputError
from kzoo.heads.labels import named_sets
from kzoo.models.raw_data import Feed, RawData
from kzoo.models.raw_values import RawValues
from kzoo.reads import streams
from kzoo.reads.columns import USUAL_LABELS, Table, as_list, is_split, label_column
from kzoo.reads.orders import Passes
from kzoo.strategy import replica_count
from kzoo.training.schedule import WarmupLinearDecay

__all__ = ["Feed", "RawData", "RawFit"]


class RawFit(RawValues):
    """Raw columns in, `keras.Model`'s methods; stands in front of `keras.Model` in the MRO.

    `RawData` encodes columns, `HeadCompile` compiles with the heads' losses and metrics; here they
    meet Keras' own methods.
    """

    built: bool
    jit_compile: bool
    trainable_variables: list[Any]

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
        passes = Passes()
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
                needed = self._takes_labels and not self._learns_input
                table, validation_data = hold_out(table, validation_split, needed)
            self._learn(table)
            self._compile_once()
            options: dict[str, Any]
            options = {"few_shapes": self.jit_compile, "passes": passes}
            x, *_ = self._batches(table, batch_size, shuffle, adapter_names, **options)
            y = sample_weight = batch_size = None
            validation_split = 0.0
            shuffle = False  # done; Keras would warn that it cannot
        self._compile_once()
        if class_weight is not None and len(self.heads) == 1:
            class_weight = next(iter(self.heads.values())).class_weight(class_weight)
        if validation_data is not None:
            validation_data = self._prepare_validation(validation_data)
        for head in self.heads.values():
            head.note_fit()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = callbacks.callbacks
        several = isinstance(callbacks, (list, tuple))
        given = callbacks if several else [callbacks]
        callbacks = [*(callback for callback in given if callback is not None), passes]
        schedule = None
        if self._recipe_schedule and not WarmupLinearDecay.yields_to(callbacks):
            schedule = WarmupLinearDecay(self.training_settings.warmup)
            callbacks.insert(0, schedule)
        try:
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
        finally:
            if schedule is not None:
                schedule.on_train_end()

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`, into a `.keras` file.

        Raises:
            InputError: The older HDF5, which keeps no adapters.
        """
        path = str(Path(filepath).expanduser())
        if path.endswith((".h5", ".hdf5")):
            raise InputError(f"`filepath` must end in .keras. Received: {path!r}")
        super().save(path, *args, **kwargs)  # type: ignore[misc]

    def make_train_function(self, force: bool = False) -> Any:
        """As in Keras, which would build the optimizer in the step and so trace the step twice.

        With several replicas that is left to Keras: traced once, the sums over replicas of two
        devices of one CPU wait for each other for ever.
        """
        if self.built and not self.optimizer.built and replica_count() == 1:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)  # type: ignore[misc]

    def _compile_once(self) -> None:
        if not self.compiled:
            self.compile()

    def _learn(self, table: Table) -> None:
        """Lets the heads see the labels of training data."""
        for name, head in self.heads.items():
            if head.self_labelled or not head.labelled:
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
        names = self.output_names_in_order
        for name, column in stream_labels(x, names, set(self.aligned)).items():
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
        more: dict[str, float] = {}
        if streams.is_stream(x):
            raw, x = self._is_raw_stream(x)
            if raw:
                self._check_open()
                self._compile_once()
                x, batch_size = self._stream(x, batch_size), None
        elif (table := self._table(x, y, sample_weight)) is not None:
            self._check_open()
            self._compile_once()
            if self.aligned:
                more = self._value_scores(table, batch_size, adapter_names)
            options = {"few_shapes": self.jit_compile, "by_length": True}
            x, *_ = self._batches(table, batch_size, False, adapter_names, **options)
            y = sample_weight = batch_size = None
        with streams.own_errors():
            found = super().evaluate(  # type: ignore[misc]
                x, y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight, **kwargs
            )
        more |= self._whole_scores(x)
        if not more:
            return found
        if isinstance(found, dict):
            return {**found, **more}
        return [*(found if isinstance(found, list) else [found]), *more.values()]

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

        `adapter_names` is the adapter of each row, or `__base__`, with `kzoo.PerRow` active. Of an
        output with a number for each token the rows are filled up with 0, and a text that was cut
        into windows has a row for each of these; `predict_values` puts them together again.
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
        return self._predicted(table, batch_size, verbose, steps, callbacks, adapter_names)[0]

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles as the saved model was, its schedule and optimizer state included."""
        schedule = self._recipe_schedule
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
        self._recipe_schedule = schedule


def hold_out(table: Table, share: float, labelled: bool) -> tuple[Table, Any]:
    """Takes the last rows away for validation.

    Args:
        table: Columns with labels.
        share: Share of the rows to hold out.
        labelled: Whether labels are needed.

    Returns:
        What is left, and (x, y[, weights]) held out.

    Raises:
        InputError: No labels, or a share that leaves no rows on one side.
    """
    if labelled and not table.labels:
        raise InputError("`validation_split` needs texts in memory, with labels.")
    cut = table.rows - int(table.rows * share)
    if not 0 < cut < table.rows:
        raise InputError(
            f"`validation_split` {share} leaves no rows on one side of {table.rows} texts."
        )

    def named(column: Any) -> Any:
        column = np.asarray(column)
        if table.names is not None and column.ndim == 2:
            return named_sets(column, table.names)
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


def stream_labels(x: Any, outputs: Sequence[str], as_given: Collection[str]) -> dict[str, Any]:
    """All labels of a stream with an end, in one pass; those `as_given` as objects.

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
        elements = streams.batched(x, 1024).as_numpy_iterator()
    else:
        elements = (x[number] for number in range(len(x)))
    found: dict[str, list[Any]] = {}
    for element in elements:
        inputs, y, _ = streams.unpacked(element)
        named = y if isinstance(y, Mapping) else {outputs[0]: y} if y is not None else inputs
        if not isinstance(named, Mapping):
            raise InputError("`x` as a stream must yield (text, label) for fit.")
        for name in outputs:
            usual = [name, *USUAL_LABELS]
            own = next((named[key] for key in usual if key in named), None)
            if own is not None:
                own = np.fromiter(own, object, len(own)) if name in as_given else own
                found.setdefault(name, []).append(own)
    if not found:
        raise InputError("`x` is empty. At least one text of each class is needed.")
    columns = {name: np.concatenate(own) for name, own in found.items()}
    return {
        name: label_column(own, len(own), name, name in as_given) for name, own in columns.items()
    }
