"""The losses that kzoo brings: between outputs, and between hidden states of two layers."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.distillation import LOSSES
from kzoo.distillation.base import SampleLoss, positive_number
from kzoo.errors import DistillationError


@LOSSES.register("hidden_mse")
@keras.saving.register_keras_serializable(package="kzoo")
class HiddenMSE(SampleLoss):
    """`MSE(H_s W, H_t)` between the outputs of a student's and a teacher's layer.

    TinyBERT, arXiv:1909.10351, eq. 8. `W` is there when the widths differ; `kzoo.Distiller` owns,
    trains and saves it, and the student is exported without it. Without names the models' outputs
    are compared.

    States are `(B, D)` or `(B, T, D)`; of the latter, padding does not count when the inputs hold a
    `padding_mask` or the states carry a Keras mask.

    Args:
        teacher_layer_name: layer name, also of a layer inside a nested backbone, or a dotted path
            such as `"backbone.transformer_layer_3"`. Defaults to `None` (the model's output).
        student_layer_name: the same for the student.
        project: `"auto"` (a projection only where the widths differ), `True` (always) or `False`
            (different widths are an error). Defaults to `"auto"`.
        seed: integer seed of `W`'s initial values (Glorot uniform). Defaults to 0.

    Raises:
        DistillationError: if `project` is something else.
    """

    def __init__(
        self,
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
        project: bool | str = "auto",
        seed: int = 0,
    ) -> None:
        if project not in (True, False, "auto"):
            raise DistillationError(
                f"`project`: received {project!r}; it must be 'auto', True or False."
            )
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name
        self.project = project
        self.may_project = project is not False
        self.seed = seed

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        return ops.mean(ops.square(teacher_outputs - student_outputs), axis=-1)

    def make_projection(self, teacher_width: int, student_width: int) -> Any:
        """`W` `(student_width, teacher_width)` without bias, float32, or `None` if not wanted."""
        if self.project is False or (self.project == "auto" and teacher_width == student_width):
            return None
        initial = keras.initializers.GlorotUniform(seed=self.seed)
        return keras.layers.Dense(
            teacher_width, use_bias=False, kernel_initializer=initial, dtype="float32"
        )

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        widths = (teacher_outputs.shape[-1], student_outputs.shape[-1])
        if None not in widths and widths[0] != widths[1]:
            raise DistillationError(
                f"`student_outputs`: the student's states are {widths[1]} wide, the teacher's "
                f"{widths[0]}. Use `kzoo.Distiller`, which owns the projection between them, "
                "with `HiddenMSE(project='auto')`."
            )
        super().validate_outputs(teacher_outputs, student_outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
            "project": self.project,
            "seed": self.seed,
        }


class _SoftTarget(SampleLoss):
    """What the two losses with a temperature share."""

    takes_logits = True

    def __init__(self, temperature: float = 2.0) -> None:
        self.temperature = positive_number("temperature", temperature)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """See `SampleLoss`; refuses heads whose outputs are no logits of one class a row too."""
        super().validate_model_compatibility(teacher, student)
        for role, model in (("teacher", teacher), ("student", student)):
            for head in getattr(model, "heads", {}).values():
                alone = head.kind == "rank" and head.units == 1  # a softmax over one score
                others = ("multilabel", "ordinal", "regress", "contrast", "similarity")
                if alone or head.kind in others:
                    raise DistillationError(
                        f"`{role}`: the head {head.name!r} is of kind {head.kind}, and "
                        f"{type(self).__name__} compares distributions over classes. Pass "
                        "distillation_losses='logits_mse'."
                    )

    def _log_probabilities(self, logits: Any) -> Any:
        if logits.shape[-1] == 1:  # of one class against the other, whose logit is 0
            logits = ops.concatenate([logits, ops.zeros_like(logits)], axis=-1)
        # From log-softmax, not log(softmax): exact for logits of +-1e4, where softmax is 0.
        return ops.log_softmax(logits / self.temperature, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature}


@LOSSES.register("soft_target_kl")
@keras.saving.register_keras_serializable(package="kzoo")
class SoftTargetKL(_SoftTarget):
    """`T^2 * KL(softmax(t/T) || softmax(s/T))`, mean over the batch.

    Its gradient with respect to the student's logits is `T * (q - p)`; the factor `T^2` keeps the
    gradient's size when `T` changes. Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2.

    Logits are `(B, N)` for N classes or `(B, T, N)` for tokens, any float dtype; with N = 1 they
    are of a binary model, whose other class has the logit 0.

    Args:
        temperature: `T`, above 0, without unit. Higher is softer. Defaults to 2.0.

    Raises:
        DistillationError: if `temperature` is not a finite number above 0.
    """

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        log_p = self._log_probabilities(teacher_outputs)
        log_q = self._log_probabilities(student_outputs)
        divergence = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
        return self.temperature**2 * divergence


@LOSSES.register("soft_target_cross_entropy")
@keras.saving.register_keras_serializable(package="kzoo")
class SoftTargetCrossEntropy(_SoftTarget):
    """`T^2 * CE(softmax(t/T), softmax(s/T))`, mean over the batch.

    Equals `SoftTargetKL` plus `T^2` times the teacher's entropy, which is constant for the student:
    the gradients are the same, the value does not reach 0. TinyBERT (arXiv:1909.10351, eq. 10)
    uses it with `T = 1`; TextBrewer's `kd_ce` leaves `T^2` out.

    Logits are `(B, N)` for N classes or `(B, T, N)` for tokens, any float dtype; with N = 1 they
    are of a binary model, whose other class has the logit 0.

    Args:
        temperature: `T`, above 0, without unit. Defaults to 2.0.

    Raises:
        DistillationError: if `temperature` is not a finite number above 0.
    """

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        p = ops.exp(self._log_probabilities(teacher_outputs))
        log_q = self._log_probabilities(student_outputs)
        return -(self.temperature**2) * ops.sum(p * log_q, axis=-1)


@LOSSES.register("logits_mse")
@keras.saving.register_keras_serializable(package="kzoo")
class LogitsMSE(SampleLoss):
    """Mean squared difference of the logits over the classes, mean over the batch.

    Ba and Caruana 2014, arXiv:1312.6184, eq. 1. Unlike the limit of `SoftTargetKL` for a high
    temperature it also matches the logits' mean. Logits are `(B, N)` or `(B, T, N)`.
    """

    takes_logits = True

    def values(self, teacher_outputs: Any, student_outputs: Any) -> Any:
        return ops.mean(ops.square(teacher_outputs - student_outputs), axis=-1)
