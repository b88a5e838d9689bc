"""What a Distiller's batches hold: one encoding for both models, or one each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kzoo.distillation.errors import DistillationError
from kzoo.distillation.routing import symbolic_inputs
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
