"""The two pictures of the report, as PNG bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_TRAIN, _VALIDATION = "#8a94a6", "#1f5fbf"


def learning_curve(history: Mapping[str, Sequence[float]], best_epoch: int) -> bytes:
    """Loss and accuracy after each epoch.

    Args:
        history: `loss`, `val_loss`, `accuracy` and `val_accuracy`, one value an epoch.
        best_epoch: The epoch that was kept, from 1.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True
    ):
        for name, color, label in (
            (key, _TRAIN, "training (while it is trained)"),
            (f"val_{key}", _VALIDATION, "validation"),
        ):
            values = history[name]
            axes.plot(range(1, len(values) + 1), values, "o-", color=color, label=label)
        axes.axvline(best_epoch, color="#bbbbbb", linestyle=":", zorder=0)
        axes.plot(
            best_epoch,
            history[f"val_{key}"][best_epoch - 1],
            "o",
            markersize=12,
            markerfacecolor="none",
            color=_VALIDATION,
            label="kept",
        )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.8, len(history[key]) + 0.2)
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.legend(frameon=False, loc="lower right", markerscale=0.7)
    return _png(figure)


def confusion_matrix(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> bytes:
    """Which classes are taken for which; colours are shares of a row, numbers are rows of data.

    Args:
        counts: (classes, classes), true classes in rows, predicted ones in columns.
        labels: Names of the classes.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(counts)
    size = len(labels)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    side = max(4.0, 0.55 * size)
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    # Full names at the rows; numbers at the columns, where long names would overlap.
    names = [textwrap.fill(label, 32) for label in labels]
    axes.set_yticks(range(size), [f"{name}  {i + 1}" for i, name in enumerate(names)])
    axes.set_xticks(range(size), [str(i + 1) for i in range(size)])
    axes.tick_params(length=0)
    axes.set_xlabel("predicted chapter, by its number at the left")
    axes.set_title("Test documents: true chapter in rows, predicted in columns")
    for row, column in np.argwhere(matrix):
        color = "white" if share[row, column] > 0.5 else "black"
        axes.text(
            column, row, str(matrix[row, column]), ha="center", va="center", color=color, size=9
        )
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e4e7ec", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Tight: names of any length are on the picture. The library's version in the file would make
    # equal pictures differ.
    figure.savefig(
        buffer,
        format="png",
        dpi=130,
        bbox_inches="tight",
        pad_inches=0.15,
        metadata={"Software": None},
    )
    return buffer.getvalue()
