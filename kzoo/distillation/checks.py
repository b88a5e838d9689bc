"""What has to hold between a teacher and a student, and what `compile` takes from the student."""

from __future__ import annotations

import math
from typing import Any

import keras

from kzoo.errors import DistillationError
from kzoo.models.raw_fit import RawFit


def check_models(teacher: Any, student: Any) -> None:
    """Refuses what is not a model, and a student that would be frozen with its teacher.

    Raises:
        DistillationError: naming `teacher` or `student`.
    """
    for role, model in (("teacher", teacher), ("student", student)):
        if not isinstance(model, keras.Model):
            raise DistillationError(
                f"`{role}`: received {type(model).__name__}; it must be a keras.Model."
            )
    frozen = {id(v) for v in teacher.variables}
    shared = [v.path for v in student.trainable_variables if id(v) in frozen]
    if shared:
        raise DistillationError(
            f"`student`: shares {len(shared)} trainable variables with `teacher` (first: "
            f"{shared[0]!r}). The teacher is frozen, so they would not train: build the student "
            "with layers of its own, or freeze what is shared."
        )


def check_output_widths(teacher: Any, student: Any) -> None:
    """Refuses models whose outputs have another structure or number of classes.

    Raises:
        DistillationError: with both shapes.
    """
    if not getattr(teacher, "outputs", None) or not getattr(student, "outputs", None):
        return
    t, s = [[tuple(o.shape) for o in m.outputs] for m in (teacher, student)]
    if len(t) != len(s) or any(a[-1:] != b[-1:] for a, b in zip(t, s, strict=True)):
        raise DistillationError(
            f"`student`: its outputs have the shapes {s}, the teacher's {t}; to distil outputs "
            "both models need the same number of classes (`num_classes=` in kzoo.load). "
            "To distil hidden states only, give losses with `teacher_layer_name` and "
            "`student_layer_name`."
        )


def align_labels(teacher: Any, student: Any) -> None:
    """One label vocabulary for both: a student's head without classes takes the teacher's.

    Raises:
        DistillationError: if both have one and they differ, also if only in order.
    """
    for theirs, own in _paired_heads(teacher, student):
        if theirs.labels is None:
            if own.is_open and not theirs.is_open:
                own.set_number(theirs.num_classes)
                student.heads_learned()
            continue
        if own.labels is None:
            own.set_labels(theirs.labels, theirs.numbers)
            student.heads_learned()
        elif own.labels != theirs.labels:
            raise DistillationError(
                f"`student`: its labels {own.labels} differ from the teacher's {theirs.labels}; "
                "output i must mean the same label in both. Load the student with the teacher's "
                "list."
            )


def _paired_heads(teacher: Any, student: Any) -> list[tuple[Any, Any]]:
    """The classification heads of both that stand for the same output."""
    heads = []
    for model in (teacher, student):
        own = model.heads if isinstance(model, RawFit) else {}
        heads.append({name: head for name, head in own.items() if head.kind == "classify"})
    theirs, own = heads
    if len(theirs) == len(own) == 1:
        return [(next(iter(theirs.values())), next(iter(own.values())))]
    return [(theirs[name], own[name]) for name in theirs if name in own]


def check_weights(losses: list[Any], weights: Any) -> list[float]:
    """One weight per loss, 1.0 by default.

    Raises:
        DistillationError: if there are more or fewer, or one is not a finite number >= 0.
    """
    if weights is None:
        return [1.0] * len(losses)
    listed = list(weights) if isinstance(weights, (list, tuple)) else [weights]
    for weight in listed:
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight < 0:
            raise DistillationError(
                f"`distillation_loss_weights`: received {weight!r}; "
                "each must be a finite number >= 0."
            )
    if len(listed) != len(losses):
        raise DistillationError(
            f"`distillation_loss_weights`: received {len(listed)} weights for {len(losses)} "
            "distillation losses; give one each."
        )
    return [float(weight) for weight in listed]


def check_share(student_loss_weight: Any) -> float:
    """The student's share of the total loss.

    Raises:
        DistillationError: if it is not a number from 0 to 1.
    """
    number = isinstance(student_loss_weight, (int, float)) and not isinstance(
        student_loss_weight, bool
    )
    if not number or not 0.0 <= student_loss_weight <= 1.0:
        raise DistillationError(
            f"`student_loss_weight`: received {student_loss_weight!r}; "
            "it must be a number from 0 to 1."
        )
    return float(student_loss_weight)


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
