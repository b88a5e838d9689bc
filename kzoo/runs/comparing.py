"""Teacher and student side by side."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.runs.finishing import final_split, parameters
from kzoo.runs.plan import Plan
from kzoo.runs.scores import score

if TYPE_CHECKING:
    from kzoo.runs.distilling import DistillOptions

_TEXTS = 256
_ROUNDS = 3
_BATCH = 32


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
