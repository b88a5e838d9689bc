"""`curves.png`: loss and metrics over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
