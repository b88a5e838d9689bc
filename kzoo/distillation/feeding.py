"""What a Distiller's batches hold, and which part of one each of its models takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from kzoo.errors import DistillationError
from kzoo.keras_internals import history
from kzoo.models.raw_fit import Feed, RawFit


def host_of(teacher: Any, student: Any) -> RawFit | None:
    """The model whose reads, heads and training defaults hold: the student's where it has any."""
    for model in (student, teacher):
        if isinstance(model, RawFit) and model.feeds:
            return model
    return None


def feeds_of(teacher: Any, student: Any) -> Sequence[Feed]:
    """What is read for both models out of the same columns.

    One encoding serves both when all that the teacher reads is read for the student in the same
    way; otherwise each has its own, under `teacher/...` and `student/...`.

    Raises:
        DistillationError: They read other columns.
    """
    host = host_of(teacher, student)
    if host is None:
        return []
    both = all(isinstance(model, RawFit) and model.feeds for model in (teacher, student))
    if not both or _same(teacher, student):
        return host.feeds
    theirs = teacher.feeds
    columns = {feed.column for feed in student.feeds}
    if len(theirs) == len(columns) == 1:
        theirs = [replace(feed, column=student.feeds[0].column) for feed in theirs]
    if missing := [feed.column for feed in theirs if feed.column not in columns]:
        raise DistillationError(
            f"`teacher`: reads the column {missing[0]!r}, the student reads {sorted(columns)}. "
            "Give the inputs that mean the same the same name."
        )
    own = [replace(feed, prefix="student/") for feed in student.feeds]
    return [*own, *(replace(feed, prefix="teacher/") for feed in theirs)]


def specs_of(teacher: Any, student: Any, feeds: Sequence[Feed]) -> dict[str, Any]:
    """Input name -> TensorSpec of a batch."""
    host = host_of(teacher, student)
    assert host is not None, "there is something to read"
    if not any(feed.prefix for feed in feeds):
        return dict(host.input_specs)
    return {
        f"{role}/{name}": spec
        for role, model in (("student", student), ("teacher", teacher))
        for name, spec in model.input_specs.items()
    }


def _same(teacher: Any, student: Any) -> bool:
    own = {feed.column: feed.read for feed in student.feeds}
    alone = len(own) == len(teacher.feeds) == 1
    for feed in teacher.feeds:
        mine = next(iter(own.values())) if alone else own.get(feed.column)
        if mine is None or mine.fingerprint != feed.read.fingerprint:
            return False
    wanted = symbolic_inputs(teacher)
    return wanted is None or set(wanted) <= set(student.input_specs)


ROLES = ("teacher", "student")


def select(x: Any, model: Any, role: str) -> Any:
    """The inputs of `model` out of a batch that serves teacher and student.

    A dict is narrowed to the keys the model knows, so a teacher with three inputs and a student
    with two of them share a batch. Keys `"teacher/..."` and `"student/..."` (two tokenisers) belong
    to one model only. Anything else is passed on as it is.

    Args:
        x: a tensor or structure of tensors.
        model: a `keras.Model`; a subclassed one without symbolic inputs takes everything.
        role: `"teacher"` or `"student"`.

    Returns:
        The inputs in the structure that `model` was built with.

    Raises:
        DistillationError: if an input is missing, naming it and what there is.
    """
    if not isinstance(x, dict):
        return x
    own = {key[len(role) + 1 :]: value for key, value in x.items() if key.startswith(f"{role}/")}
    # A batch without prefixes is shared by both models.
    x = own or {k: v for k, v in x.items() if not k.startswith(tuple(f"{r}/" for r in ROLES))}
    wanted = symbolic_inputs(model)
    if wanted is None:
        return x
    if isinstance(wanted, dict):
        optional = {k for k, v in wanted.items() if _is_optional(v)}
        _require([k for k in wanted if k not in optional], x, role)
        return {k: x[k] for k in wanted if k in x or k not in optional}
    names = [tensor.name for tensor in keras.tree.flatten(wanted)]
    _require(names, x, role)
    return keras.tree.pack_sequence_as(wanted, [x[name] for name in names])


def padding_mask(x: Any) -> Any:
    """The `(B, T)` mask that KerasHub's preprocessors put among the inputs, or `None`."""
    if not isinstance(x, dict):
        return None
    found = [value for key, value in x.items() if key.endswith("padding_mask")]
    return found[0] if len(found) == 1 else x.get("padding_mask")


def symbolic_inputs(model: Any) -> Any:
    """The `KerasTensor`s a model was built with, in their structure; `None` if it has none."""
    if not getattr(model, "inputs", None):
        return None  # a Sequential that is not built yet, or a subclassed model
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _is_optional(tensor: Any) -> bool:
    made = history(tensor)
    return made is not None and bool(getattr(made[0], "optional", False))


def _require(names: list[str], x: dict[str, Any], role: str) -> None:
    missing = [name for name in names if name not in x]
    if missing:
        raise DistillationError(
            f"`x`: the {role} needs the inputs {missing}, the batch holds {sorted(x)}. "
            "Give a dict with every input of both models, by name."
        )
