"""Keras' own losses as distillation losses, and one call that values any of them."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from kzoo.distillation import LOSSES
from kzoo.distillation.base import SampleLoss, weighted_mean
from kzoo.errors import DistillationError


@keras.saving.register_keras_serializable(package="kzoo")
class OutputLoss(SampleLoss):
    """A Keras loss between the teacher's outputs (as `y_true`) and the student's (as `y_pred`).

    The outputs go in as they are: no temperature, no softmax. A loss on probabilities, such as
    `"kl_divergence"`, therefore needs models that end in a softmax; for logits use `SoftTargetKL`.
    An instance's own `reduction` is not used: the Distiller takes the weighted mean.

    Args:
        loss: name, function `(y_true, y_pred) -> (B, ...)`, or `keras.losses.Loss`.

    Raises:
        DistillationError: if Keras does not know the name.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = keras.losses.get(loss)
        if self.loss is None:
            raise DistillationError(
                "`loss`: received None; pass a Keras loss, its name, or a function."
            )

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        values_of = self.loss.call if isinstance(self.loss, keras.losses.Loss) else self.loss
        return values_of(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        # Nothing to refuse: whether logits or probabilities are right depends on the loss.
        return None

    def get_config(self) -> dict[str, Any]:
        return {"loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OutputLoss:
        return cls(keras.losses.deserialize(config["loss"]))


def as_distillation_loss(loss: Any) -> Any:
    """Whatever a user may pass as a distillation loss, as a `DistillationLoss`.

    Args:
        loss: `DistillationLoss` (kzoo's, Keras' or the user's), its name in `LOSSES`,
            `keras.losses.Loss`, the name of a Keras loss, or a function `(y_true, y_pred)`.

    Returns:
        A `keras.distillation.DistillationLoss`; warns for the stock default that is wrong.

    Raises:
        DistillationError: if `loss` is none of these.
    """
    if isinstance(loss, str) and loss in LOSSES:
        loss = LOSSES.get(loss)()
    if isinstance(loss, keras.distillation.DistillationLoss):
        if is_raw_kl(loss):
            warnings.warn(
                "`LogitsDistillation()` with its default `loss='kl_divergence'` takes the KL of "
                "raw logits, without softmax and without T^2 (Keras 3.15). Use "
                "`kzoo.distillation.SoftTargetKL(temperature)`, or pass "
                "`loss=keras.losses.KLDivergence()`.",
                UserWarning,
                stacklevel=4,
            )
        return loss
    if isinstance(loss, (str, keras.losses.Loss)) or callable(loss):
        return OutputLoss(loss)
    raise DistillationError(
        f"`distillation_losses`: received {loss!r}; pass kzoo.distillation.SoftTargetKL() or "
        "another DistillationLoss, a keras.losses.Loss, the name of a Keras loss, or a function."
    )


def is_raw_kl(loss: Any) -> bool:
    """Whether `loss` is Keras' `LogitsDistillation` with the KL *function*, which has no softmax.

    Keras looks for an instance of `KLDivergence`, but its string default resolves to a function.
    """
    return isinstance(loss, keras.distillation.LogitsDistillation) and any(
        inner is keras.losses.kl_divergence for inner in keras.tree.flatten(loss.loss)
    )


def loss_value(
    loss: Any, teacher_outputs: Any, student_outputs: Any, sample_weight: Any, mask: Any
) -> Any:
    """The scalar value of any distillation loss, with `sample_weight` respected.

    Keras' own losses return the batch mean only. With weights they are therefore evaluated sample
    by sample (vectorised), which is the same for every loss that is a mean over samples. They know
    no mask.

    Args:
        loss: a `DistillationLoss`.
        teacher_outputs: tensor or structure of tensors `(B, ...)`, float.
        student_outputs: the same for the student.
        sample_weight: `(B,)` or `None`.
        mask: `(B, T)` or `None`.

    Returns:
        A float32 scalar.
    """
    # Here, for all losses: a mixed-precision student would lose digits, and Keras refuses dtypes.
    teacher_outputs, student_outputs = keras.tree.map_structure(
        _float32, (teacher_outputs, student_outputs)
    )
    teacher_outputs = keras.tree.map_structure(ops.stop_gradient, teacher_outputs)
    loss.validate_outputs(teacher_outputs, student_outputs)
    if isinstance(loss, SampleLoss):
        return loss.compute_loss(teacher_outputs, student_outputs, sample_weight, mask)
    if sample_weight is None:
        return ops.cast(loss.compute_loss(teacher_outputs, student_outputs), "float32")

    def one_sample(pair: Any) -> Any:
        teacher, student = keras.tree.map_structure(lambda t: ops.expand_dims(t, 0), pair)
        return loss.compute_loss(teacher, student)

    values = ops.vectorized_map(one_sample, (teacher_outputs, student_outputs))
    return weighted_mean(values, sample_weight)


def _float32(tensor: Any) -> Any:
    return ops.cast(tensor, "float32")
