"""The tables of docs/retrieval.md that the code decides.

`python tests/docs/retrieval_tables.py` writes them into the page anew.
"""

from __future__ import annotations

from pathlib import Path

from retrieval_index.vectors.choice import _KINDS, _spell, bytes_per_vector, choose_index
from retrieval_index.vectors.family import parse_factory

DIMENSION = 384
MANY = 1_000_000
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def kinds() -> str:
    """Every kind that can be chosen, in the order of preference."""
    rows = [
        "| kind | what it is | bytes a vector (1,000,000 x 384) |",
        "|---|---|---:|",
    ]
    for kind in _KINDS:
        family = parse_factory(_spell(kind.pattern, MANY, DIMENSION), DIMENSION)
        size = bytes_per_vector(family, MANY, DIMENSION)
        beside = " + 1,536 on disk" if family.lossy else ""
        rows.append(f"| `{kind.pattern}` | {kind.about} | {size:,.0f}{beside} |")
    return "\n".join(rows)


def choices() -> str:
    """What is chosen for some sizes and wishes."""
    rows = [
        "| vectors of 384 numbers | nothing said | `deletes` | `memory` of a quarter | of a 16th |",
        "|---:|---|---|---|---|",
    ]
    for count in SIZES:
        whole = 4 * DIMENSION * count
        cells = [
            choose_index(count, DIMENSION, **wishes).factory
            for wishes in (
                {},
                {"deletes": True},
                {"memory": int(whole / 4 * 1.1)},
                {"memory": whole // 16},
            )
        ]
        rows.append(f"| {count:,} | " + " | ".join(f"`{cell}`" for cell in cells) + " |")
    return "\n".join(rows)


def files() -> str:
    """The kinds of files that are read."""
    from retrieval_index.corpus.formats import readable_kinds

    rows = ["| kind | suffixes | needs |", "|---|---|---|"]
    for kind, suffixes, package in readable_kinds():
        rows.append(f"| {kind} | {', '.join(f'`{suffix}`' for suffix in suffixes)} | {package} |")
    return "\n".join(rows)


def chunkings() -> str:
    """The methods of chunking."""
    from retrieval_index.chunking.chunker import methods

    rows = ["| `chunking` | passages |", "|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {summary} |" for name, summary in methods().items()])


TABLES = {"files": files, "chunkings": chunkings, "kinds": kinds, "choices": choices}

PAGE = Path(__file__).resolve().parents[2] / "docs" / "retrieval.md"


def write() -> None:
    """Puts the tables into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        head, _, rest = text.partition(f"<!-- table: {name} -->\n")
        text = f"{head}<!-- table: {name} -->\n{table()}\n{rest[rest.index('<!-- end -->') :]}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
