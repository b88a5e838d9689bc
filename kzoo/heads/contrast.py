"""`kzoo.heads.Contrast`: vectors of what belongs together move together, others apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.adapters.layers.base import AdapterLayer
from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.embed import Embed
from kzoo.heads.head import Head
from kzoo.keras_internals import every_layer, operations_before
from kzoo.metrics.pairs import reciprocal_rank
from kzoo.reads.text import TextInput
from kzoo.strategy import gathered
from kzoo.trunk.layer import Trunk


class OnVectors(Head):
    """A head that is called on a list of vectors, one for each column of texts. No variables.

    Args:
        columns: The columns that are read where the head stands on a trunk alone, as in a recipe:
            each becomes a vector by the same trunk and `kzoo.heads.Embed`. One column is encoded
            twice.
        **kwargs: As `kzoo.heads.Head`; `dropout`, 0 by default, acts on the vectors, and `pooling`
            is that of the vectors.
    """

    has_variables = False
    target_dtype = "float32"

    def __init__(self, columns: Sequence[str], **kwargs: Any) -> None:
        kwargs.setdefault("dropout", 0.0)
        super().__init__(**kwargs)
        self.columns = [columns] if isinstance(columns, str) else list(columns)
        if len(set(self.columns)) != len(self.columns) or not self.columns:
            raise InputError(f"`columns` must be different names. Received: {self.columns}")
        self._before = _Before()

    def on_trunk(self, trunk: Trunk) -> tuple[Any, Any]:
        """See `Head`: an input and a vector for each column."""
        inputs = [TextInput(trunk, name=column) for column in self.columns]
        vector = Embed(pooling=self.pooling, name="vector")
        twice = inputs * 2 if len(inputs) == 1 else inputs
        return inputs, [vector(trunk(one)) for one in twice]

    def _check_pooling(self, x: Any, trunks: Sequence[Trunk]) -> None:
        """Vectors are not pooled."""

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """See the class."""
        every = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(every) < 2 or any(isinstance(v, Mapping) or len(v.shape) != 2 for v in every):
            raise InputError(
                f"The head `{self.name}` must be called on a list of two or more vectors (batch, "
                "width), such as kzoo.heads.Embed gives for each of several texts."
            )
        widths = [int(v.shape[-1]) for v in every]
        if len(set(widths)) > 1:
            raise InputError(f"The head `{self.name}` needs vectors of one width: {widths}")
        self._before.operations = [list(operations_before(v)) for v in every]
        return super().__call__(every, *args, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Nothing to make."""
        self.width, self.several = int(input_shape[0][-1]), len(input_shape)

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """float32 (batch, vectors, width).

        Args:
            x: A list of (batch, width).
            mask: Not used.
            training: Whether dropout is on.
        """
        every = [self.head_dropout(ops.cast(v, "float32"), training=training) for v in x]
        return ops.stack(every, axis=1)

    def note_fit(self) -> None:
        """See `Head`.

        Raises:
            InputError: A text stands beside itself, and nothing makes its vectors differ.
        """
        first, second = self._before.operations[:2]
        same = bool(first) and {id(o) for o in first} == {id(o) for o in second}
        if same and not self.dropout and not _noisy(first):
            raise InputError(
                f"The head `{self.name}` sees the vectors of one text twice, and they are equal: "
                "the dropout of a frozen trunk is off. Give an adapter dropout, as in "
                "lora[dropout=0.1], the head `dropout=0.1`, or train the trunk (frozen=False)."
            )

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "columns": list(self.columns)}


class _Before:
    """A box that Keras' attribute tracking does not look into."""

    operations: list[list[Any]]


def _noisy(operations: Sequence[Any]) -> bool:
    """Whether some dropout acts in training; not that of adapters that are switched off."""
    active, idle = [], set()
    for operation in operations:
        parts = every_layer(operation) if isinstance(operation, keras.layers.Layer) else []
        for part in parts:
            if isinstance(operation, Trunk) and isinstance(part, AdapterLayer):
                if part.name not in operation.adapters.active:
                    idle |= {id(inner) for inner in every_layer(part)}
            elif type(part).__name__ == "Dropout" and part.rate > 0:
                active.append(part)
    return any(id(part) not in idle for part in active)


_OPTIONS: dict[str, dict[str, Any]] = {
    "infonce": {"scale": 20.0, "symmetric": False},
    "triplet": {"margin": 0.5, "distance": "cosine"},
}


@HEADS.register("contrast")
@keras.saving.register_keras_serializable(package="kzoo")
class Contrast(OnVectors):
    """Learns vectors from rows of texts that belong together; outputs (batch, texts, width).

    Called on the vectors [anchor, positive, *negatives] of each row. There are no labels.

    - `infonce`: each anchor finds its positive among the positives and negatives of all rows of
      its batch: cross-entropy of `scale` times the cosines (van den Oord et al. 2018,
      arXiv:1807.03748; Henderson et al. 2017, arXiv:1705.00652, as sentence-transformers'
      MultipleNegativesRankingLoss). A larger batch has more negatives. With one text as anchor
      and positive, and dropout as the only difference, it is unsupervised SimCSE; with
      contradictions as negatives the supervised one (Gao et al. 2021, arXiv:2104.08821).
    - `triplet`: max(d(anchor, positive) - d(anchor, negative) + margin, 0), the mean over a row's
      negatives (Schroff et al. 2015, arXiv:1503.03832).

    The rows of a batch have anchors of similar length, as always in `fit`. Under a `tf.distribute`
    strategy the candidates are those of all replicas.

    Args:
        loss: `infonce` or `triplet`.
        scale: Of the cosines in `infonce`, 1 / temperature. Default 20.
        symmetric: In `infonce`, whether each positive has to find its anchor too; the mean of
            both.
        margin: Of `triplet`. Default 0.5.
        distance: Of `triplet`: `cosine` (1 - cosine) or `euclidean`. Default `cosine`.
        sizes: Sum the loss over the first so many numbers of the vectors, each cut brought to
            length 1, so that vectors may be cut later (Matryoshka, Kusupati et al. 2022,
            arXiv:2205.13147). Default: the whole vectors.
        columns: See `OnVectors`. Default: `anchor`, `positive`, and `negative` for triplets.
        **kwargs: As `OnVectors`.

    Raises:
        InputError: An unknown loss, or an option of another one.
    """

    kind = "contrast"
    labelled = False

    def __init__(
        self,
        loss: str = "infonce",
        scale: float | None = None,
        symmetric: bool | None = None,
        margin: float | None = None,
        distance: str | None = None,
        sizes: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if loss not in _OPTIONS:
            raise InputError(f"`loss` must be one of {', '.join(_OPTIONS)}. Received: {loss!r}")
        usual = ("anchor", "positive", "negative")[: 3 if loss == "triplet" else 2]
        super().__init__(columns=usual if columns is None else columns, **kwargs)
        given = {"scale": scale, "symmetric": symmetric, "margin": margin, "distance": distance}
        given = {key: value for key, value in given.items() if value is not None}
        if others := [key for key in given if key not in _OPTIONS[loss]]:
            raise InputError(f"`{others[0]}` means nothing to the loss {loss!r}. Leave it out.")
        self.learned_by = loss
        self.options = {**_OPTIONS[loss], **given}
        for key in ("scale", "margin"):
            if self.options.get(key, 1) <= 0:
                raise InputError(f"`{key}` must be more than 0. Received: {self.options[key]}")
        if self.options.get("distance", "cosine") not in _DISTANCES:
            raise InputError(
                f"`distance` must be one of {', '.join(_DISTANCES)}. "
                f"Received: {self.options['distance']!r}"
            )
        self.sizes = None if sizes is None else [int(size) for size in sizes]

    def build(self, input_shape: Any) -> None:
        """See `OnVectors`.

        Raises:
            InputError: `sizes` that vectors of this width do not have, or no negatives.
        """
        super().build(input_shape)
        if self.sizes is not None and not all(0 < size <= self.width for size in self.sizes or [0]):
            raise InputError(
                f"`sizes` must be numbers from 1 to {self.width}, the width of the vectors. "
                f"Received: {self.sizes}"
            )
        if self.learned_by == "triplet" and self.several < 3:
            raise InputError(
                f"The head `{self.name}` with the loss 'triplet' needs negatives: call it on "
                "[anchor, positive, negative]."
            )

    @property
    def units(self) -> int:
        """Width of the vectors."""
        return self.width

    def default_loss(self) -> Any:
        """See the class."""
        return ContrastLoss(self.learned_by, self.sizes and list(self.sizes), self.options)

    def default_weighted_metrics(self) -> list[Any]:
        """Share of the anchors whose positive is the nearest in their batch."""
        return [keras.metrics.MeanMetricWrapper(nearest_in_batch, name="batch_accuracy")]

    def whole_scores(self, targets: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
        """Mean reciprocal rank of the positive among the candidates of all rows, at each size."""
        scores = {"mrr": float(np.mean(reciprocal_rank(outputs)))}
        for size in self.sizes or ():
            scores[f"mrr_{size}"] = float(np.mean(reciprocal_rank(outputs[..., :size])))
        return scores

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        sizes = self.sizes and list(self.sizes)
        return {**super().get_config(), "loss": self.learned_by, "sizes": sizes, **self.options}


def _infonce(vectors: Any, scale: float, symmetric: bool) -> Any:
    """float32 (batch, texts, width) to (batch,)."""
    unit = ops.normalize(vectors, axis=-1)
    anchors, positives = unit[:, 0], unit[:, 1]
    every, _ = gathered(unit)  # of all replicas: negatives are those of the whole batch
    candidates = ops.reshape(every[:, 1:], (-1, unit.shape[-1]))
    own = scale * ops.sum(anchors * positives, axis=-1)
    found = ops.logsumexp(scale * ops.matmul(anchors, ops.transpose(candidates)), axis=-1) - own
    if symmetric:
        back = scale * ops.matmul(positives, ops.transpose(every[:, 0]))
        found = (found + ops.logsumexp(back, axis=-1) - own) / 2
    return found


def _cosine(a: Any, b: Any) -> Any:
    return 1 - ops.sum(ops.normalize(a, axis=-1) * ops.normalize(b, axis=-1), axis=-1)


def _euclidean(a: Any, b: Any) -> Any:
    # The root of 0 has no gradient.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=-1), 1e-12))


_DISTANCES: dict[str, Callable[[Any, Any], Any]] = {"cosine": _cosine, "euclidean": _euclidean}


def _triplet(vectors: Any, margin: float, distance: str) -> Any:
    """float32 (batch, texts, width) to (batch,)."""
    d = _DISTANCES[distance]
    anchors, positives, negatives = vectors[:, :1], vectors[:, 1:2], vectors[:, 2:]
    return ops.mean(ops.relu(d(anchors, positives) - d(anchors, negatives) + margin), axis=-1)


_LOSSES: dict[str, Callable[..., Any]] = {"infonce": _infonce, "triplet": _triplet}


@keras.saving.register_keras_serializable(package="kzoo")
class ContrastLoss(keras.losses.Loss):  # type: ignore[misc]
    """The losses of `Contrast`, of float32 (batch, texts, width); labels are not looked at.

    Args:
        kind: `infonce` or `triplet`.
        sizes: See `Contrast`.
        options: Of the loss.
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(
        self,
        kind: str,
        sizes: Sequence[int] | None,
        options: Mapping[str, Any],
        name: str = "contrast_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.kind, self.sizes, self.options = kind, sizes, dict(options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,)."""
        cuts = [y_pred]
        if self.sizes is not None:
            cuts = [ops.normalize(y_pred[..., :size], axis=-1) for size in self.sizes]
        return sum(_LOSSES[self.kind](cut, **self.options) for cut in cuts)

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        own = {"kind": self.kind, "sizes": self.sizes, "options": self.options}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kzoo")  # type: ignore[untyped-decorator]
def nearest_in_batch(y_true: Any, y_pred: Any) -> Any:
    """float32 (batch,): 1 where no candidate of the batch is nearer to the anchor than its own."""
    unit = ops.normalize(y_pred, axis=-1)
    every, first = gathered(unit)
    candidates = ops.reshape(every[:, 1:], (-1, unit.shape[-1]))
    best = ops.argmax(ops.matmul(unit[:, 0], ops.transpose(candidates)), axis=-1)
    place = (first + ops.arange(ops.shape(y_pred)[0])) * (y_pred.shape[1] - 1)
    return ops.cast(ops.equal(best, ops.cast(place, best.dtype)), "float32")
