"""From per-position values to one number, with weights and masks counted as Keras counts them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.distillation.errors import DistillationError


class _Identity(keras.losses.Loss):  # type: ignore[misc]
    """Lends its reduction: Keras divides by the count and scales for `tf.distribute`."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


def weighted_mean(values: Any, sample_weight: Any = None, mask: Any = None) -> Any:
    """Mean of `values` over the batch, the way `keras.losses.Loss` takes it.

    With weights `w` and a mask `m` this is `sum(w * m * v) / sum(m)`: weights scale the loss and
    do not normalise it (weights of 0 give a loss of 0), masked positions leave the mean entirely.

    Args:
        values: float tensor `(B,)` or `(B, T, ...)`, one value per sample or position.
        sample_weight: `(B,)`, `(B, 1)`, or the leading axes of `values`. Defaults to `None` (ones).
        mask: bool or 0/1, the leading axes of `values`, true where a position counts. Ignored when
            `values` is `(B,)`, which has no positions to leave out. Defaults to `None`.

    Returns:
        A float32 scalar; 0 when the mask leaves nothing.

    Raises:
        DistillationError: if a weight or mask has more axes than `values`, or another length.
    """
    values = ops.cast(values, "float32")
    weights = None
    if sample_weight is not None:
        weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
        if len(weights.shape) == len(values.shape) + 1 and weights.shape[-1] == 1:
            weights = ops.squeeze(weights, axis=-1)
        weights = _spread(weights, values, "sample_weight")
    if mask is not None and len(values.shape) > 1:
        kept = ops.cast(ops.convert_to_tensor(mask), "float32")
        kept = ops.broadcast_to(_spread(kept, values, "mask"), ops.shape(values))
        # A masked value may be anything, NaN included: 0 * NaN would still be NaN.
        values = ops.where(kept > 0, values, 0.0)
        total = ops.cast(ops.prod(ops.shape(values)), "float32")
        kept = kept * ops.divide_no_nan(total, ops.sum(kept))
        weights = kept if weights is None else weights * kept
    return _Identity(name="mean", dtype="float32")(values, values, weights)


def _spread(weights: Any, values: Any, name: str) -> Any:
    """Gives `weights` trailing axes of length 1 until it broadcasts over `values`."""
    rank = len(values.shape)
    fits = len(weights.shape) <= rank and all(
        w is None or v is None or w in (1, v)
        for w, v in zip(weights.shape, values.shape, strict=False)
    )
    if not fits:
        raise DistillationError(
            f"`{name}`: received shape {tuple(weights.shape)} for loss values of shape "
            f"{tuple(values.shape)}; it must be their leading axes, such as "
            f"{tuple(values.shape[:1])} or {tuple(values.shape)}."
        )
    return ops.reshape(
        weights,
        (*(ops.shape(weights)[i] for i in range(len(weights.shape))),)
        + (1,) * (rank - len(weights.shape)),
    )


def per_sample_weight(sample_weight: Any, y_pred: Any) -> Any:
    """`sample_weight` as Keras' losses can spread it over the positions of `y_pred`.

    Keras does not spread weights `(B,)` over token losses `(B, T)`; as `(B, 1)` it does.
    """
    single = not keras.tree.is_nested(sample_weight) and not keras.tree.is_nested(y_pred)
    if sample_weight is None or not single or len(sample_weight.shape) != 1:
        return sample_weight
    for _ in range(len(y_pred.shape) - 2):
        sample_weight = ops.expand_dims(sample_weight, axis=-1)
    return sample_weight
