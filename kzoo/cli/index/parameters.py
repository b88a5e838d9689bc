"""Options that several commands of `kzoo index` share, each written once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the index.")]
Corpus = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS",
        help="Files, folders, patterns such as 'notes/**/*.md', or a name of "
        "`kzoo list --datasets`.",
    ),
]
Encoder = Annotated[
    str | None, typer.Option(help="Name of the encoder, where the index cannot tell it.")
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="FIELD=COLUMN[,...]",
        help="Column of id, title, text or metadata, such as text=abstract,body or "
        "metadata=year:int,price:float. Repeatable.",
    ),
]
Duplicates = Annotated[
    str | None,
    typer.Option(help="A text that came before under another id: keep or skip. [keep]"),
]
RequireIds = Annotated[
    bool, typer.Option("--require-ids", help="A record without an id is unusable. [gets one]")
]
Encoding = Annotated[str | None, typer.Option(help="Encoding of text files. [utf-8]")]
EncodingErrors = Annotated[
    str | None,
    typer.Option(help="Bytes that do not fit it: strict, replace, ignore, ... [strict]"),
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Texts in one call of the encoder. [64]")
]
ShardSize = Annotated[
    int | None,
    typer.Option(min=1, help="Passages that a killed run loses at most. [4096]"),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse the first unusable entry instead of counting it.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER",
        help="Only documents whose metadata fit: lang=en, or JSON such as "
        '\'{"year": {"$gte": 2000}}\'. Repeatable; all must fit.',
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(help="dense (by meaning), lexical (by words, BM25) or hybrid (both). [dense]"),
]
PerDocument = Annotated[
    int | None, typer.Option(min=1, help="Most passages of one document among the hits.")
]
Fusion = Annotated[
    str | None, typer.Option(help="How hybrid fuses. [what --tune-fusion stored, or rrf]")
]
Weights = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="DENSE LEXICAL", help="Weights of hybrid. [stored ones, or 1 1]"),
]
Depth = Annotated[
    int | None, typer.Option(min=1, help="Hits taken of each ranking, and for --rerank. [100]")
]
Rerank = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="Score the best hits anew with a sentence-transformers CrossEncoder."
    ),
]
Snapshot = Annotated[str | None, typer.Option(help="A snapshot instead of the current version.")]
NoChecksums = Annotated[
    bool,
    typer.Option("--no-checksums", help="Compare only sizes of files when opening: quicker."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of all that is drawn by chance. [0]")]


def given(**options: Any) -> dict[str, Any]:
    """Options that were given; for all others the library has its default."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def going_on(how: str) -> Iterator[None]:
    """Says on Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how) from None


UNCHANGED = "the index is as it was; the same command starts again"
