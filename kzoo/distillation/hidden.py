"""Loss between hidden states of two layers, also when their widths differ."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.distillation import LOSSES
from kzoo.distillation.base import SampleLoss
from kzoo.distillation.errors import DistillationError


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
