"""Raw columns as batches: what a model with reads and heads makes of what a user passes."""

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
from kzoo.errors import InputError
from kzoo.heads.at_tokens import AtTokens
from kzoo.heads.head import Head
from kzoo.reads import streams
from kzoo.reads.batches import batches, one_row_each, ones_for, without_lists
from kzoo.reads.columns import USUAL_LABELS, Table, is_split, read_table
from kzoo.reads.orders import Passes
from kzoo.reads.read import ITSELF, Part, Read
from kzoo.training.settings import Training


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
            draw=None if part.draw is None else lambda epoch: self.part(part.draw(epoch)),  # type: ignore[misc]
        )


class RawData:
    """Encodes raw columns once, for all inputs and outputs of a model.

    Whoever has it says what its inputs read and what its outputs are: `feeds`, `input_specs`,
    `heads`, `output_names_in_order`, `arrange`.
    """

    training_settings: Training
    data_seed: int

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
    def aligned(self) -> Mapping[str, str]:
        """Output name -> the column at whose tokens its labels stand."""
        return {}

    @property
    def output_names_in_order(self) -> Sequence[str]:
        """Names of all outputs."""
        raise NotImplementedError

    def arrange(self, values: Mapping[str, Any]) -> Any:
        """A value for each output, in the structure of the outputs."""
        raise NotImplementedError

    def by_output(self, values: Any) -> dict[str, Any]:
        """Values in the structure of the outputs, by output name."""
        flat = keras.tree.flatten(values)
        return dict(zip(self._flat_names(), flat, strict=True))

    def _flat_names(self) -> list[str]:
        """Names of the outputs in the order in which their structure is flattened."""
        names = self.output_names_in_order
        return [str(name) for name in keras.tree.flatten(self.arrange({n: n for n in names}))]

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
        if y is not None and not self._takes_labels:
            raise InputError(
                "`y`: the model learns from its inputs alone and takes no labels. Leave it out."
            )
        if is_split(x) and (self._learns_input or not self._takes_labels):
            x = x.inputs  # its class labels are nothing for a language model
        as_given = {name for name, head in self.heads.items() if isinstance(head, AtTokens)}
        names = self.output_names_in_order
        return read_table(x, y, sample_weight, self._columns(), names, as_given)

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
        options = {"few_shapes": few_shapes, "by_length": by_length, "passes": Passes(first_epoch)}
        return self._batches(table, batch_size, shuffle, adapter_names, **options)[0]

    def _batches(
        self,
        table: Table,
        batch_size: int | None,
        shuffle: bool = False,
        adapter_names: Any = None,
        predicting: bool = False,
        **options: Any,
    ) -> tuple[Any, NDArray[np.int64], list[Part]]:
        by_row = self._row_inputs(adapter_names, table.rows)
        parts = self._encode(table, by_row, predicting)
        labels = {} if predicting else self._targets(table, parts)
        weights = None if table.weights is None else table.weights.astype("float32")
        parts, rows = one_row_each(parts, table.rows)
        if rows is not None:
            labels = {name: column[rows] for name, column in labels.items()}
            by_row = {key: ids[rows] for key, ids in by_row.items()}
            weights = None if weights is None else weights[rows]
        size = self.training_settings.batch_size if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"`batch_size` must be at least 1. Received: {size}")
        dataset, order = batches(
            parts,
            table.rows if rows is None else len(rows),
            self._pack,
            self.input_specs,
            labels=labels,
            learned=self._learned_specs({name for part in parts for name in part.targets}),
            weights=weights,
            by_row=by_row,
            batch_size=size,
            shuffle=shuffle,
            seed=self.data_seed,
            **options,
        )
        return dataset, order, parts

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
            for part in encode(column, prompts):
                if part.windows is not None and not predicting:
                    own = {
                        name: head.align(table.labels[name], part.windows)
                        for name, head in self.heads.items()
                        if self.aligned.get(name) == feed.column
                        and isinstance(head, AtTokens)
                        and name in table.labels
                    }
                    part = replace(part, targets={**part.targets, **own})
                parts.append(feed.part(part))
        return parts

    @property
    def _learns_input(self) -> bool:
        return any(head.self_labelled for head in self.heads.values())

    @property
    def _takes_labels(self) -> bool:
        """Whether labels are of any use: for a head that has some, or a loss of the user's."""
        own = self.heads
        return any(name not in own or own[name].labelled for name in self.output_names_in_order)

    def _targets(self, table: Table, parts: Sequence[Part]) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        counts = [part.candidates for part in parts if part.candidates is not None]
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            if head is not None and head.self_labelled:
                continue
            if head is not None and not head.labelled:
                found[name] = np.zeros(table.rows, "float32")  # Keras has no loss without any
                continue
            if name not in table.labels:
                if table.labels:
                    raise InputError(f"`y` has no labels for the output `{name}`.")
                continue
            if name in self.aligned:  # they come with the windows
                continue
            column = table.labels[name]
            found[name] = column if head is None else head.targets(column, table.names)
            if head is not None and len(counts) == 1:
                head.check_candidates(found[name], counts[0])
        return found

    def _learned_specs(self, names: Any) -> dict[str, Any]:
        """TensorSpecs of (labels, weights) of what is learned at tokens."""
        found = {}
        for name, head in self.heads.items():
            key = ITSELF if head.self_labelled else name
            if key in names:
                found[key] = (
                    tf.TensorSpec((None, *head.target_shape), head.target_dtype),
                    tf.TensorSpec((None, *head.weight_shape), tf.float32),
                )
        return found

    def _pack(
        self, inputs: dict[str, Any], labels: dict[str, Any], weights: Any, learned: dict[str, Any]
    ) -> Any:
        """One batch, or the TensorSpecs of one, as Keras wants it."""
        if not labels and not learned:
            return inputs
        labels, own_weights = dict(labels), {}
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            key = ITSELF if head is not None and head.self_labelled else name
            own_weights[name] = weights
            if key in learned:
                labels[name], own_weights[name] = learned[key]
                if isinstance(weights, np.ndarray):  # counts for all that is learned in a row
                    own = own_weights[name]
                    own_weights[name] = own * weights.reshape(-1, *[1] * (own.ndim - 1))
        if all(value is None for value in own_weights.values()):
            return inputs, without_lists(self.arrange(labels))
        for name, own in own_weights.items():
            if own is None:
                own_weights[name] = ones_for(labels[name])
        return (
            inputs,
            without_lists(self.arrange(labels)),
            without_lists(self.arrange(own_weights)),
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
        labels = self._targets(table, parts)
        parts, rows = one_row_each(parts, table.rows)
        weights = None if table.weights is None else table.weights.astype("float32")
        if rows is not None:
            labels = {name: column[rows] for name, column in labels.items()}
            weights = None if weights is None else weights[rows]
        count = table.rows if rows is None else len(rows)
        inputs, learned = streams.stream_parts(parts, count)
        return self._pack(inputs, labels, weights, learned)

    def _stream_signature(self, raw: Any) -> Any:
        """TensorSpecs of an encoded batch of a dataset."""
        spec = raw.element_spec
        first, *others = spec if isinstance(spec, tuple) else (spec,)
        named = set(first) if isinstance(first, Mapping) else set()
        labels = {}
        for name in self.output_names_in_order:
            head = self.heads.get(name)
            if name in self.aligned:
                raise InputError(
                    f"`x`: labels of the head `{name}` have a length of their own in each row, "
                    "which a tf.data.Dataset does not carry. Pass columns, a generator of batches "
                    "or a keras.utils.PyDataset."
                )
            if head is not None and head.self_labelled:
                continue
            known = bool(others) or _labelled(named, self._columns(), name)
            if not known and (head is None or head.labelled):
                continue
            shape = () if head is None else head.target_shape
            dtype = _label_dtype(others, name) if head is None else head.target_dtype
            labels[name] = tf.TensorSpec((None, *shape), dtype)
        weights = tf.TensorSpec((None,), tf.float32) if len(others) > 1 else None
        learned = self._learned_specs({ITSELF} if self._learns_input else {})
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


def _labelled(named: set[str], reads: Mapping[str, Read], output: str) -> bool:
    """Whether an element of a stream has a column of labels beside those that are read."""
    return output in named or bool(named & set(USUAL_LABELS) - set(reads))


def _label_dtype(others: Sequence[Any], name: str) -> Any:
    spec = others[0] if others else None
    if isinstance(spec, Mapping):
        spec = spec.get(name)
    return getattr(spec, "dtype", tf.float32)
