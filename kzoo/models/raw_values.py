"""What a model's outputs mean in the rows that were given, and scores that need all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.errors import InputError
from kzoo.heads.head import Head
from kzoo.models.head_compile import HeadCompile
from kzoo.reads import streams
from kzoo.reads.columns import Table
from kzoo.reads.read import Part


class RawValues(HeadCompile):
    """Predicts rows in memory, and reads off what the outputs say."""

    jit_compile: bool

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
            scores |= self._said_of(name, own)
        return scores

    def _said_of(self, name: str, scores: Mapping[str, float]) -> dict[str, float]:
        prefix = "" if len(self.output_names_in_order) == 1 else f"{name}_"
        return {prefix + key: value for key, value in scores.items()}

    def _value_scores(
        self, table: Table, batch_size: int | None, adapter_names: Any
    ) -> dict[str, float]:
        """Scores of what is read off the texts."""
        scores: dict[str, float] = {}
        values = self._values(table, batch_size, 0, adapter_names)
        for name in self.aligned:
            if name in table.labels:
                own = self.heads[name].value_scores(table.labels[name], values[name])
                scores |= self._said_of(name, own)
        return scores

    def predict_values(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        adapter_names: Any = None,
    ) -> Any:
        """What the model says of each row, by its heads: label names, numbers, entities, answers.

        Args:
            x: Columns in memory, as `predict` takes them.
            batch_size: As in `predict`.
            verbose: As in `predict`.
            adapter_names: As in `predict`.

        Returns:
            n values, or a structure of these as the outputs have it. Of a text that was cut into
            windows a head that answers whole rows gives what the mean of their outputs means.

        Raises:
            InputError: x is tensors or a stream, which have no texts to read values off.
        """
        table = None if streams.is_stream(x) else self._table(x)
        if table is None:
            raise InputError(
                "`x` must be columns in memory, such as a list of texts. "
                f"Received: {type(x).__name__}"
            )
        self._check_open()
        return self.arrange(self._values(table, batch_size, verbose, adapter_names))

    def _values(
        self, table: Table, batch_size: int | None, verbose: Any, adapter_names: Any
    ) -> dict[str, Any]:
        found, parts = self._predicted(table, batch_size, verbose, None, None, adapter_names)
        windows = {
            feed.column: part.windows
            for feed, part in zip(self.feeds, parts, strict=False)
            if part.windows is not None
        }
        values = {}
        for name, own in self.by_output(found).items():
            head = self.heads.get(name)
            if name in self.aligned and head is not None:
                values[name] = head.read_off(own, windows[self.aligned[name]])
                continue
            for cut in windows.values():
                if len(cut.places.rows) > table.rows:
                    own = _of_texts(own, cut.places.rows, table.rows)
            values[name] = own if head is None else head.decode(own)
        return values

    def _predicted(
        self,
        table: Table,
        batch_size: int | None,
        verbose: Any,
        steps: int | None,
        callbacks: Any,
        adapter_names: Any,
    ) -> tuple[Any, list[Part]]:
        """Outputs, a row for each encoded one, and the parts that were encoded."""
        # Similar lengths together waste no padding; the order is restored afterwards.
        dataset, order, parts = self._batches(
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
        return keras.tree.map_structure(lambda value: _dense(value)[back], found), parts

    def _check_open(self) -> None:
        for head in self.heads.values():
            if head.is_open:
                raise InputError(
                    "`num_classes` is not known yet. Call fit, or pass `num_classes=` or "
                    "`labels=` to kzoo.load or the head."
                )


def _of_texts(outputs: Any, rows: Any, count: int) -> Any:
    """The mean of the outputs of each text's windows, (count, ...)."""
    outputs = np.asarray(outputs)
    found = np.zeros((count, *outputs.shape[1:]), outputs.dtype)
    np.add.at(found, rows, outputs)
    return found / np.bincount(rows, minlength=count).reshape(-1, *[1] * (outputs.ndim - 1))


def _dense(value: Any) -> Any:
    """Rows of tokens of several lengths, filled up with 0."""
    return value.to_tensor().numpy() if isinstance(value, tf.RaggedTensor) else value
