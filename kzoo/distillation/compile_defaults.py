"""What `Distiller.compile` takes from a student that is compiled already."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.distillation.errors import DistillationError
from kzoo.models.raw_fit import RawFit


def from_student(student: Any) -> dict[str, Any]:
    """Fresh copies of the student's optimizer, loss and metrics.

    Copies, because an optimizer is bound to the variables it was built with and a metric counts for
    one model; the student keeps its own.

    Args:
        student: a `keras.Model`, compiled or not; of a `kzoo.Model` that is not, the
            recipe's defaults are taken.

    Returns:
        Keyword arguments for `compile`: any of `optimizer`, `loss`, `loss_weights`, `metrics`,
        `weighted_metrics`, `jit_compile`; empty if the student is not compiled.

    Raises:
        DistillationError: if the student was compiled with something that cannot be copied.
    """
    compiled = getattr(student, "compiled", False)
    if not compiled:
        if not isinstance(student, RawFit):
            return {}
        student.compile()  # a kzoo.Model then has its recipe's training defaults
    try:
        config = keras.saving.deserialize_keras_object(student.get_compile_config())
    except Exception as error:
        raise DistillationError(
            "`student`: its loss, metrics or optimizer cannot be copied "
            f"({type(error).__name__}: {error}). "
            "Pass `optimizer`, `loss` and `metrics` to `Distiller.compile`."
        ) from error
    # As it was: a file would keep an optimizer that never ran, and warn about it when read.
    student.compiled = compiled
    names = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "jit_compile")
    return {name: config[name] for name in names if config.get(name) is not None}
