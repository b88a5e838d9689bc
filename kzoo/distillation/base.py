"""The base of kzoo's distillation losses: one value per sample first, the mean afterwards."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.errors import DistillationError
from kzoo.keras_internals import carried_mask, history
from kzoo.strategy import mean_over_replicas


class SampleLoss(keras.distillation.DistillationLoss):  # type: ignore[misc]
    """A distillation loss that knows the value of every sample, so that samples can be weighted.

    Subclasses implement `values`. They work in `keras.distillation.Distiller` (plain mean over the
    batch) and in `kzoo.Distiller`, which also hands over `sample_weight` and the padding mask.
    """

    #: Layers whose outputs are compared; `None` compares the models' outputs.
    teacher_layer_name: str | None = None
    student_layer_name: str | None = None
    #: True where a softmax at the end of a model would make the loss wrong.
    takes_logits = False
    #: True where `make_projection` may return a layer, so that the widths have to be known.
    may_project = False

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        """One loss value per sample or position.

        Args:
            teacher_outputs: float32 `(B, ..., N)`.
            student_outputs: float32 `(B, ..., N)`.

        Returns:
            float32 `(B, ...)`: the last axis is consumed.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `values`.")

    def compute_loss(
        self,
        teacher_outputs: Any,
        student_outputs: Any,
        sample_weight: Any = None,
        mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The weighted mean of `values` over the batch.

        Args:
            teacher_outputs: `(B, ..., N)`, any float dtype; no gradient flows into it.
            student_outputs: `(B, ..., N)`, any float dtype; computed in float32.
            sample_weight: `(B,)` or `(B, ...)`. Defaults to `None` (every sample counts 1).
            mask: `(B, ...)`, true where a position counts. Defaults to `None`: the Keras mask that
                `student_outputs` carries, if any.

        Returns:
            A float32 scalar: `sum(weight * mask * values) / sum(mask)`.
        """
        if mask is None:
            mask = carried_mask(student_outputs)
        teacher = ops.stop_gradient(ops.cast(teacher_outputs, "float32"))
        student = ops.cast(student_outputs, "float32")
        return weighted_mean(self.values(teacher, student), sample_weight, mask)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Refuses structures and shapes that cannot be compared.

        Raises:
            DistillationError: if either side is not one tensor, or the known shapes differ.
        """
        for role, outputs in (("teacher", teacher_outputs), ("student", student_outputs)):
            if keras.tree.is_nested(outputs):
                raise DistillationError(
                    f"`{role}_outputs`: {type(self).__name__} compares one tensor with one tensor; "
                    f"the {role} gives a {type(outputs).__name__} of "
                    f"{len(keras.tree.flatten(outputs))}. Distil a model with a single output."
                )
        t, s = tuple(teacher_outputs.shape), tuple(student_outputs.shape)
        same = len(t) == len(s) and all(
            a is None or b is None or a == b for a, b in zip(t, s, strict=True)
        )
        if not same:
            raise DistillationError(
                f"`student_outputs`: received shape {s} where the teacher has {t}; "
                f"{type(self).__name__} compares position by position, so the shapes must be equal."
            )

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Refuses models that give probabilities when the loss takes logits.

        Raises:
            DistillationError: naming the model; a softmax of a softmax is silently wrong otherwise.
        """
        for role, model in (("teacher", teacher), ("student", student)):
            if self.takes_logits and ends_in_softmax(model):
                raise DistillationError(
                    f"`{role}`: model {model.name!r} ends in a softmax or sigmoid, but "
                    f"{type(self).__name__} takes logits. Build its last layer with "
                    "`activation=None`."
                )

    def make_projection(self, teacher_width: int, student_width: int) -> Any:
        """A trainable layer from the student's width to the teacher's, or `None` for none."""
        return None

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SampleLoss:
        return cls(**config)


def ends_in_softmax(model: Any) -> bool:
    """Whether a functional model gives probabilities: by its last operations, or by trying it.

    A sigmoid of a single output is one too. A softmax that is nested, or a function such as
    `keras.ops.softmax`, shows only in what comes out: rows that sum to 1, whatever goes in.
    """
    for tensor in getattr(model, "outputs", None) or []:
        made = history(tensor)
        operation = None if made is None else made[0]
        if isinstance(operation, keras.layers.Softmax):
            return True
        activation = getattr(operation, "activation", None)
        if activation is keras.activations.softmax:
            return True
        if activation is keras.activations.sigmoid and tensor.shape[-1] == 1:
            return True
    # The heads of a kzoo.Model give logits.
    return not hasattr(model, "heads") and _gives_distributions(model)


def _gives_distributions(model: Any) -> bool:
    if not getattr(model, "inputs", None):
        return False
    rng = np.random.default_rng(0)

    def made_up(tensor: Any) -> Any:
        shape = [2, *(size or 4 for size in tensor.shape[1:])]
        if keras.backend.is_float_dtype(tensor.dtype):
            return rng.normal(0, 3, shape).astype("float32")
        return np.ones(shape, "int32")

    try:
        wanted = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        answers = model(keras.tree.map_structure(made_up, wanted), training=False)
        answers = [np.asarray(answer) for answer in keras.tree.flatten(answers)]
    except Exception:  # it takes something else; then its layers are all there is to see
        return False
    return any(
        a.ndim > 1 and a.shape[-1] > 1 and (a >= 0).all() and np.allclose(a.sum(-1), 1, atol=1e-3)
        for a in answers
    )


def positive_number(name: str, value: Any) -> float:
    """`value` as a float, or one clear error.

    Raises:
        DistillationError: if it is not a finite number above 0.
    """
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or value <= 0:
        raise DistillationError(
            f"`{name}`: received {value!r}; it must be a finite number above 0."
        )
    return float(value)


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
        kept = kept * ops.divide_no_nan(total, mean_over_replicas(ops.sum(kept)))
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
