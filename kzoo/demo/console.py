"""What the terminal shows: steps with their time, and tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kzoo.demo.questions import snippet
from kzoo.demo.results import Answer, ModelFacts, Score

_SNIPPET = 280


def scores_table(scores: Sequence[Score]) -> Table:
    """Accuracy and macro-F1 on the test split."""
    table = Table("on the test split", title_justify="left")
    for title in ("accuracy", "macro-F1"):
        table.add_column(title, justify="right")
    table.add_column("how")
    for score in scores:
        table.add_row(
            escape(score.name),
            f"{score.accuracy:.1%}",
            f"{score.macro_f1:.3f}",
            escape(score.remark),
        )
    return table


def models_table(models: Sequence[ModelFacts]) -> Table:
    """Teacher and students, side by side."""
    table = Table("")
    for model in models:
        table.add_column(escape(model.name), justify="right")
    for title, values in model_rows(models):
        table.add_row(title, *values)
    return table


def model_rows(models: Sequence[ModelFacts]) -> list[tuple[str, list[str]]]:
    """Title and one text a model, the teacher first; relative to the teacher where that helps."""
    teacher = models[0]

    def speed(model: ModelFacts) -> str:
        if model.texts_per_second is None or not teacher.texts_per_second:
            return "as the other student"
        times = model.texts_per_second / teacher.texts_per_second
        own = f"{model.texts_per_second:.0f}"
        return own if model is teacher else f"{own} ({times:.1f} times)"

    return [
        ("parameters", [f"{m.parameters:,}" for m in models]),
        ("of which trained", [f"{m.trainable:,}" for m in models]),
        ("MB on disk", [f"{m.megabytes:.1f}" for m in models]),
        ("texts a second", [speed(m) for m in models]),
        ("test accuracy", [f"{m.accuracy:.1%}" for m in models]),
        ("test macro-F1", [f"{m.macro_f1:.3f}" for m in models]),
        (
            "accuracy kept",
            [f"{m.accuracy / teacher.accuracy:.1%}" if teacher.accuracy else "–" for m in models],
        ),
    ]


def print_answers(console: Console, answers: Sequence[Answer]) -> None:
    """The best passage of each question, and where the others are."""
    for answer in answers:
        console.print(f"\n[bold]{escape(answer.question)}[/]", highlight=False)
        if not answer.hits:
            console.print("  no passage")
            continue
        best, *others = answer.hits
        console.print(
            f"  {best.score:.2f}  [cyan]{escape(best.document_id)}[/], characters "
            f"{best.start} to {best.end}",
            highlight=False,
        )
        text = Text(snippet(best.text, _SNIPPET), style="dim")
        console.print(Padding(text, (0, 0, 0, 8)))
        if others:
            rest = ", ".join(f"{escape(h.document_id)} ({h.score:.2f})" for h in others)
            console.print(f"  then  {rest}", highlight=False)


class Clock:
    """Announces each step and takes its time.

    Args:
        console: Where to.
        steps: How many there will be.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    @contextmanager
    def step(self, key: str, title: str) -> Iterator[None]:
        """Times a block under `key`, in seconds of the wall clock and of all cores together.

        Args:
            key: Name in `seconds` and `cpu_seconds`.
            title: What people read.
        """
        number = len(self.seconds) + 1
        self._console.print()
        self._console.rule(f"[bold]{number}/{self._steps}  {title}", align="left")
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.seconds[key] = round(time.perf_counter() - began, 2)
        self.cpu_seconds[key] = round(time.process_time() - worked, 2)
        self._console.print(
            f"[dim]{self.seconds[key]:.1f} s, {clock_time(self.elapsed)} since the start[/]"
        )


def clock_time(seconds: float) -> str:
    """Such as `3:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
