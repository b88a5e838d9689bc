"""`metrics.jsonl`, one durable line per epoch, and `curves.png`, drawn of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kzoo.errors import RunError
from kzoo.files import write_text


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a line and waits until it is on the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines, oldest first; a last line that was cut off by a crash is left out.

    Raises:
        RunError: A line before the last is no JSON object.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(line)
        except ValueError as error:
            if number == len(lines):  # no newline behind it: torn
                break
            raise RunError(f"{str(path)!r} line {number} is damaged.") from error
        rows.append(row)
    return rows


def keep_epochs(path: Path, epochs: int) -> list[dict[str, Any]]:
    """Drops the lines of later epochs, which will be trained again, and returns the others."""
    rows = [row for row in read(path) if row["epoch"] <= epochs]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


#: What is shown of an epoch, as far as it is there, in this order.
SCORES = (
    *("loss", "accuracy", "micro_f1", "macro_f1", "lrap", "mae", "kappa"),
    *("rmse", "pearson", "spearman", "perplexity"),
)


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> bool:
    """Draws the curves of train and validation.

    Args:
        rows: Lines of `metrics.jsonl`.
        path: PNG file to write.
        title: Heading.

    Returns:
        False where matplotlib is not installed; nothing is written then.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    panels = [name for name in SCORES if any({name, f"val_{name}"} & set(row) for row in rows)]
    figure = Figure(figsize=(4.2 * max(1, len(panels)), 3.4), layout="constrained")
    figure.suptitle(title)
    for number, name in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), number)
        for key, label in ((name, "train"), (f"val_{name}", "validation")):
            points = [(row["epoch"], row[key]) for row in rows if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)
    return True
