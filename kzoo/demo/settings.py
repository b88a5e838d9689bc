"""How much the demo does."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What the five questions are about, so that a small index can still answer them.
QUICK_MODULES = ("csv", "json", "os", "pathlib", "subprocess", "datetime", "io", "shutil")


@dataclass(frozen=True)
class Settings:
    """The numbers of a run; chosen on the validation split, never on the test split.

    Args:
        seed: Decides the initial weights, the order of the rows and every subset.
        quick: Whether the run is the short one; only said in the report, never asked.
        rows: Training rows; None for all. Validation and test shrink in the same proportion.
        max_tokens: Longer texts are cut here.
        batch_size: Rows a step.
        learning_rate: Peak rate of the adapter and the head.
        epochs: Passes of the adapter over the training rows.
        student_learning_rate: Peak rate of the student.
        student_epochs: Passes of the student, with and without the teacher.
        student_loss_weight: Share of the labels in the student's loss; the teacher has the rest.
        temperature: Of the softened teacher.
        student_alone: Whether a second student is trained without the teacher, for comparison.
        modules: Modules whose documents are indexed; None for the whole corpus.
        document_characters: Longer documents are indexed up to here.
        speed_texts: Texts of the test split in one measurement of speed.
        speed_rounds: Measurements of each model.
    """

    seed: int = 0
    quick: bool = False
    rows: int | None = None
    max_tokens: int = 128
    batch_size: int = 16
    learning_rate: float = 3e-3
    epochs: int = 4
    student_learning_rate: float = 1e-3
    student_epochs: int = 2
    student_loss_weight: float = 0.5
    temperature: float = 2.0
    student_alone: bool = True
    modules: tuple[str, ...] | None = None
    document_characters: int = 1200
    speed_texts: int = 128
    speed_rounds: int = 5


def choose_settings(quick: bool, seed: int, rows: int | None = None) -> Settings:
    """The settings of `kzoo demo` and `kzoo demo --quick`.

    Args:
        quick: The run of 90 seconds instead of 8 minutes.
        seed: See `Settings`.
        rows: Training rows, instead of the run's own number; the index shrinks too. For tests.
    """
    if not quick:
        return Settings(seed=seed, rows=rows)
    short = Settings(
        seed=seed,
        quick=True,
        rows=rows or 400,
        max_tokens=64,
        epochs=3,
        student_alone=False,
        modules=QUICK_MODULES,
        document_characters=500,
        speed_texts=64,
        speed_rounds=3,
    )
    return short if rows is None else replace(short, modules=("csv",), document_characters=200)
