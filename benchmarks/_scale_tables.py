"""Tables of `index_scale.py`."""

from __future__ import annotations

from collections.abc import Sequence

from _compare import Result, shown
from rich.table import Table

BUILD_STAGES = (
    "encoder", "shards: writing", "shards: reading", "FAISS: sample", "FAISS: training",
    "FAISS: adding", "FAISS: writing", "raw vectors", "tuning and measuring", "document store: end",
    "checksums", "commit", "opening",
)  # fmt: skip


def size_table(size: int, rows: Sequence[Result]) -> Table:
    """All sides at one size."""
    made = Table(title=f"{size:,} vectors", title_justify="left")
    for column in ("side", "index", "parameters", "build s", "MB", "peak MB", "anonymous MB",
                   "peak / size", "recall@10", "queries/s", "one, ms"):  # fmt: skip
        left = column in ("side", "index", "parameters")
        made.add_column(column, justify="left" if left else "right")
    for row in rows:
        parameters = ", ".join(f"{k} {v}" for k, v in row["parameters"].items())
        made.add_row(
            row["side"], row["factory"], parameters, shown(row["seconds"]), _mb(row["bytes"]),
            _mb(row["peak_resident"]), _mb(row["peak_anonymous"]),
            shown(row["peak_resident"] / row["bytes"]), f"{row['recall']:.3f}",
            shown(row["batch_queries_a_second"]), shown(row["single_ms"]),
        )  # fmt: skip
        if row["side"] == "kzoo":
            made.add_row("", "with passages", "", "", "", "", "", "",
                         f"{row['search_vectors_recall']:.3f}",
                         shown(row["search_vectors_batch_queries_a_second"]),
                         shown(row["search_vectors_single_ms"]))  # fmt: skip
    return made


def stage_table(rows: Sequence[Result]) -> Table:
    """Seconds of each stage of kzoo's builds."""
    made = Table(title="kzoo, seconds by stage", title_justify="left")
    made.add_column("")
    for row in rows:
        made.add_column(f"{row['factory']}\n{row['size']:,}", justify="right")
    for stage in BUILD_STAGES:
        made.add_row(stage, *(shown(row["stages"].get(stage, 0.0)) for row in rows))
    made.add_row("all, reading included", *(shown(row["seconds"]) for row in rows))
    return made


def reader_table(rows: Sequence[Result]) -> Table:
    """What everything but vectors takes."""
    made = Table(title="Reading, cutting, storing: vectors of one number", title_justify="left")
    for column in ("documents", "s", "documents/s", "peak MB", "anonymous MB", "s with BM25",
                   "peak MB with BM25", "anonymous MB with BM25"):  # fmt: skip
        made.add_column(column, justify="right")
    for row in rows:
        plain, words = row["without BM25"], row["with BM25"]
        made.add_row(
            f"{row['size']:,}", shown(plain["seconds"]), shown(row["size"] / plain["seconds"]),
            _mb(plain["peak_resident"]), _mb(plain["peak_anonymous"]), shown(words["seconds"]),
            _mb(words["peak_resident"]), _mb(words["peak_anonymous"]),
        )  # fmt: skip
    return made


def growth_table(rows: Sequence[Result], found: dict[str, dict[str, float]]) -> Table:
    """Exponents of build time."""
    made = Table(title="Build seconds grow with vectors to the power of", title_justify="left")
    made.add_column("")
    steps = list(dict.fromkeys(step for several in found.values() for step in several))
    for step in steps:
        made.add_column(step, justify="right")
    for name, several in found.items():
        made.add_row(name, *(f"{several[s]:.2f}" if s in several else "" for s in steps))
    return made


def _mb(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:,.0f}"
