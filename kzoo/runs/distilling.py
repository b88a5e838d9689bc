"""`kzoo.runs.distill`: a student learns from a trained classifier, into a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.datasets import Dataset
from kzoo.errors import InputError, RunError
from kzoo.runs.data import Say
from kzoo.runs.goals import CLASSES
from kzoo.runs.options import JIT, TrainOptions
from kzoo.runs.plan import Plan, make_plan, stored_options
from kzoo.runs.reader import load_trained, trained_facts, trained_file
from kzoo.runs.training import carry_out, silent

if TYPE_CHECKING:
    from kzoo.runs.fitting import Trainee

_TEXTS = 256  # on which teacher and student are timed
_ROUNDS = 3
_BATCH = 32


@dataclass(frozen=True)
class DistillOptions(TrainOptions):
    """`TrainOptions`, and how much the teacher says.

    Args:
        temperature: Softens the probabilities of both models; above 0.
        student_loss_weight: Share of the loss on labels, 0 to 1; the rest is the teacher's.
    """

    temperature: float = 2.0
    student_loss_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise RunError(f"`temperature` must be above 0. Received: {self.temperature}")
        if not 0 <= self.student_loss_weight <= 1:
            raise RunError(
                f"`student_loss_weight` must be from 0 to 1. Received: {self.student_loss_weight}"
            )


def distill(
    teacher: str | Path,
    student: str | Path,
    dataset: str | Path | Dataset,
    out: str | Path,
    options: DistillOptions | None = None,
    *,
    say: Say = silent,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Trains a student recipe on a dataset and on a teacher's answers.

    Args:
        teacher: Run folder or `.keras` file of a trained classifier.
        student: Zoo name or recipe file.
        dataset: Name, path or dataset; its labels must be known to the teacher.
        out: The run folder; see `train`. Its report compares teacher and student.
        options: See `DistillOptions`.
        say: Takes lines for the user.
        callbacks: Further Keras callbacks.

    Returns:
        The report; under `distillation`: accuracy, macro_f1, parameters, file_bytes and
        ms_per_text of teacher and student.

    Raises:
        RunError: No such teacher, or the folder is taken.
        KzooError: As `train`.
    """
    given = options or DistillOptions()
    options = stored_options(given, out)  # type: ignore[assignment]
    assert isinstance(options, DistillOptions)
    settings = options
    teacher_file = trained_file(teacher)
    more = {
        "teacher": str(teacher),
        "distillation": {
            "teacher": str(teacher),
            "temperature": settings.temperature,
            "student_loss_weight": settings.student_loss_weight,
        },
    }
    facts = trained_facts(teacher_file)
    labels = facts.labels if facts.goal is CLASSES else None
    # Where the file does not say it, as adapters have different ones, the loaded teacher does.
    master = load_trained(teacher, CLASSES) if labels is None else None
    if master is not None:
        labels = master.labels
    if labels is None:
        raise InputError(f"The teacher in {str(teacher)!r} has no label names; train it on names.")
    plan = make_plan("distill", student, dataset, out, options, say, labels, more)
    if master is None:
        master = load_trained(teacher, CLASSES)

    def build() -> Trainee:
        return _pair(master, plan, settings)

    def extend(model: Any, report: dict[str, Any]) -> dict[str, Any]:
        return {"distillation": compare(plan, settings, master, teacher_file, model, report)}

    return carry_out(plan, build, callbacks, extend)


def _pair(teacher: Any, plan: Plan, options: DistillOptions) -> Trainee:
    import kzoo
    from kzoo.distillation import SoftTargetKL
    from kzoo.runs.fitting import Trainee
    from kzoo.zoo.loading import build_model

    student = build_model(plan.recipe)
    jit = JIT[options.jit]
    student.compile(jit_compile=jit)
    try:
        distiller = kzoo.Distiller(
            teacher,
            student,
            SoftTargetKL(temperature=options.temperature),
            student_loss_weight=options.student_loss_weight,
        )
    except ValueError as error:
        raise InputError(f"{plan.recipe.name} cannot learn from this teacher: {error}") from error
    distiller.compile(jit_compile=jit)
    return Trainee(distiller, student)


def compare(
    plan: Plan,
    options: DistillOptions,
    teacher: Any,
    teacher_file: Path,
    student: Any,
    report: dict[str, Any],
) -> dict[str, Any]:
    """Scores, sizes and speed of both, on the split whose scores count.

    Args:
        plan: The run.
        options: Temperature and share, for the record.
        teacher: The trained teacher.
        teacher_file: Its `.keras` file.
        student: The best student.
        report: The run's report, for the student's scores.

    Returns:
        `teacher` and `student`, each with accuracy, macro_f1, parameters, file_bytes, ms_per_text;
        `accuracy_kept`, `speedup` and `smaller` as ratios.
    """
    from kzoo.runs.finishing import final_split, parameters
    from kzoo.runs.scores import score

    name = final_split(plan)
    split = plan.dataset[name]
    texts = split.inputs[:_TEXTS]
    theirs, own = _seconds(teacher, student, texts)
    rows = {
        "teacher": {
            **score(teacher, split).summary(),
            "parameters": parameters(teacher)["total"],
            "file_bytes": teacher_file.stat().st_size,
            "ms_per_text": round(1000 * theirs / len(texts), 3),
        },
        "student": {
            **report["scores"][name],
            "parameters": report["parameters"]["total"],
            "file_bytes": report["model_bytes"],
            "ms_per_text": round(1000 * own / len(texts), 3),
        },
    }
    a, b = rows["teacher"], rows["student"]
    return {
        "temperature": options.temperature,
        "student_loss_weight": options.student_loss_weight,
        "split": name,
        "timed_texts": len(texts),
        "timed_batch_size": _BATCH,
        **rows,
        "accuracy_kept": b["accuracy"] / a["accuracy"] if a["accuracy"] else None,
        "speedup": theirs / own,
        "smaller": a["file_bytes"] / b["file_bytes"],
    }


def _seconds(teacher: Any, student: Any, texts: Any) -> tuple[float, float]:
    """Best of some interleaved rounds; the first call of each, which traces, does not count."""
    best = [float("inf"), float("inf")]
    for number in range(_ROUNDS + 1):
        for place, model in enumerate((teacher, student)):
            began = time.perf_counter()
            model.predict(texts, batch_size=_BATCH, verbose=0)
            if number:
                best[place] = min(best[place], time.perf_counter() - began)
    return best[0], best[1]
