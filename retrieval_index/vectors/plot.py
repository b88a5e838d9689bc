"""Recall against latency, as a picture."""

from __future__ import annotations

from pathlib import Path

from retrieval_index.errors import RetrievalIndexError
from retrieval_index.vectors.tuning import Tuning


def plot_tuning(tuning: Tuning, path: Path, *, title: str = "") -> None:
    """Draws every setting that was measured, the optimal ones joined, the chosen one marked.

    Args:
        tuning: From `tune`.
        path: The PNG file to write.
        title: Above the picture, such as the factory string.

    Raises:
        RetrievalIndexError: If matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RetrievalIndexError(
            "A plot needs matplotlib; install it with: pip install 'kzoo[demo]'"
        ) from error

    # Neither pyplot nor a change of its backend: a program that draws keeps its own.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rest = [point for point in tuning.points if not point.optimal]
    best = sorted(
        (point for point in tuning.points if point.optimal), key=lambda point: point.recall
    )
    axes.scatter(
        [point.recall for point in rest],
        [point.milliseconds for point in rest],
        color="0.75",
        s=14,
        label="measured",
    )
    axes.plot(
        [point.recall for point in best],
        [point.milliseconds for point in best],
        marker="o",
        markersize=4,
        label="optimal",
    )
    setting = ", ".join(f"{name}={value}" for name, value in tuning.parameters.items())
    axes.scatter(
        [tuning.recall],
        [tuning.milliseconds],
        marker="*",
        color="C3",
        s=160,
        zorder=3,
        label=f"chosen: {setting or 'exact'}",
    )
    axes.set_yscale("log")
    axes.set_xlabel(f"recall@{tuning.k} against exact search ({tuning.queries:,} queries)")
    axes.set_ylabel("milliseconds per query, one thread")
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title)
    figure.savefig(path, format="png", dpi=150)
