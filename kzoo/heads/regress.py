"""`kzoo.heads.Regress`: a number a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import AdapterError, InputError
from kzoo.heads import HEADS
from kzoo.heads.answers import Answer
from kzoo.heads.head import Head
from kzoo.strategy import mean_over_replicas


@HEADS.register("regress")
@keras.saving.register_keras_serializable(package="kzoo")
class Regress(Head):
    """Numbers of rows; outputs float32 (batch, num_targets) in the units of the targets.

    The first `fit` takes mean and standard deviation of the training targets; the output layer
    works in units of these, and the loss is divided by the variance, so that the same learning
    rate does for prices and for scores from 0 to 1. Both are saved with the layer.

    Args:
        num_targets: Numbers a row. Default 1.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "regress"
    target_dtype = "float32"

    def __init__(self, num_targets: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_targets < 1:
            raise InputError(f"`num_targets` must be at least 1. Received: {num_targets}")
        self.num_targets = num_targets
        if num_targets > 1:
            self.target_shape = (num_targets,)  # type: ignore[misc]

    def first_facts(self) -> dict[str, Any]:
        """See `Head`."""
        return {
            "units": self.num_targets,
            "mean": [0.0] * self.num_targets,
            "scale": [1.0] * self.num_targets,
            "settled": False,
        }

    def make_answer(self, facts: Mapping[str, Any]) -> Answer:
        """See `Head`."""
        return _Scaled(facts, self.width, self.answer_seed)

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: the scale of the targets, once for each output layer."""
        values = self.targets(column).reshape(len(column), -1).astype("float64")
        for answer in self.acting():
            if not answer.facts["settled"]:
                scale = values.std(axis=0)
                answer.rescale(values.mean(axis=0), np.where(scale > 0, scale, 1.0))

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """float32 (n,), or (n, num_targets)."""
        try:
            values = np.asarray(column, "float32")
        except (TypeError, ValueError) as error:
            bad = next((i for i, v in enumerate(column) if not _is_number(v)), 0)
            raise InputError(
                f"`{self.name}` row {bad} must be a number. Received: {column[bad]!r:.60}"
            ) from error
        if not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(f"`{self.name}` row {bad} is not finite: {column[bad]!r}")
        if values.shape[1:] != self.target_shape:
            raise InputError(
                f"`{self.name}` must have {self.num_targets} numbers a row. "
                f"Received shape: {values.shape}"
            )
        return values

    def default_loss(self) -> Any:
        """Squared error over the variance of the training targets."""
        return ScaledSquaredError([float(s) for s in self.facts["scale"]])

    def default_metrics(self) -> list[Any]:
        """Root of the mean squared error, in the targets' units, and Pearson's correlation."""
        found: list[Any] = [keras.metrics.RootMeanSquaredError(name="rmse")]
        if self.num_targets == 1:
            found.append(Pearson(name="pearson"))
        return found

    def whole_scores(self, targets: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
        """Spearman's rank correlation, ties at their mean rank."""
        if self.num_targets > 1:
            return {}
        from kzoo.metrics import spearman

        return {"spearman": spearman(np.ravel(targets), np.ravel(outputs))}

    def decode(self, outputs: NDArray[Any]) -> Any:
        """float32 (n,), or (n, num_targets)."""
        values = np.asarray(outputs, "float32")
        return values[..., 0] if self.num_targets == 1 else values

    def accept(self, facts: Mapping[str, Any], owner: str | None) -> None:
        """See `Head`."""
        super().accept(facts, owner)
        answer = self.of(owner)
        if facts["units"] != answer.facts["units"]:
            raise AdapterError(
                f"The saved head gives {facts['units']} numbers, this model's "
                f"{answer.facts['units']}. Load with `with_head=False`."
            )
        answer.rescale(facts["mean"], facts["scale"], facts["settled"])

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "num_targets": self.num_targets}


class _Scaled(Answer):
    """An output layer in units of the targets' standard deviation around their mean."""

    def rescale(self, mean: Any, scale: Any, settled: bool = True) -> None:
        """Takes on a scale. The functions that know the old one are stale."""
        self.facts.update(
            mean=[float(v) for v in mean], scale=[float(v) for v in scale], settled=settled
        )

    def effective(self) -> tuple[Any, Any]:
        """See `Answer`."""
        scale = ops.convert_to_tensor(self.facts["scale"], "float32")
        mean = ops.convert_to_tensor(self.facts["mean"], "float32")
        return self.kernel * scale, self.bias * scale + mean


@keras.saving.register_keras_serializable(package="kzoo")
class ScaledSquaredError(keras.losses.Loss):  # type: ignore[misc]
    """Mean of ((y - f) / scale)^2.

    Args:
        scale: A number for each target.
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(self, scale: Sequence[float], name: str = "scaled_squared_error", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.scale = list(scale)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,)."""
        y_true = ops.reshape(ops.cast(y_true, y_pred.dtype), ops.shape(y_pred))
        error = (y_true - y_pred) / ops.convert_to_tensor(self.scale, y_pred.dtype)
        return ops.mean(ops.square(error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="kzoo")
class Pearson(keras.metrics.Metric):  # type: ignore[misc]
    """Pearson's correlation of two columns over all batches; 0 where one of them is constant.

    From sums of squares around the first batch's means, which keeps them small; these are those of
    all replicas, whose sums are added up.
    """

    def __init__(self, name: str = "pearson", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        for which in ("begun", "x0", "y0", "count", "x", "y", "xx", "yy", "xy"):
            setattr(self, which, self.add_variable((), "zeros", name=which))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        x = ops.reshape(ops.cast(y_true, self.dtype), (-1,))
        y = ops.reshape(ops.cast(y_pred, self.dtype), (-1,))
        w = ops.ones_like(x)
        if sample_weight is not None:
            w = ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        first = ops.equal(self.begun, 0)
        rows = mean_over_replicas(ops.cast(ops.size(x), self.dtype))
        for centre, values in ((self.x0, x), (self.y0, y)):
            mean = ops.divide_no_nan(mean_over_replicas(ops.sum(values)), rows)
            centre.assign(ops.where(first, mean, centre))
        self.begun.assign(1.0)
        x, y = x - self.x0, y - self.y0
        sums = {
            "count": w,
            "x": w * x,
            "y": w * y,
            "xx": w * x * x,
            "yy": w * y * y,
            "xy": w * x * y,
        }
        for which, values in sums.items():
            getattr(self, which).assign_add(ops.sum(values))

    def result(self) -> Any:
        """The correlation so far."""
        n = ops.maximum(self.count, 1.0)
        covariance = self.xy - self.x * self.y / n
        spread = (self.xx - self.x * self.x / n) * (self.yy - self.y * self.y / n)
        return ops.where(spread > 0, covariance / ops.sqrt(ops.maximum(spread, 1e-30)), 0.0)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
