"""Options that several commands of `kzoo index` share, and what is made of what was given."""

from __future__ import annotations

import json
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


def find_corpus(words: list[str]) -> Any:
    """A path, several, or the documents of a corpus that is known by name."""
    if len(words) > 1:
        return list(words)
    from kzoo import datasets

    name = words[0]
    known = [entry.name for entry in datasets.list() if entry.kind == "corpus"]
    return datasets.corpus(name) if name in known and not Path(name).exists() else name


def parse_fields(pairs: list[str] | None) -> dict[str, Any] | None:
    """`["id=doi", "metadata=year:int"]` as `{"id": "doi", "metadata": {"year": "int"}}`.

    Raises:
        InputError: No `=`, no column, two ids or titles, or types for some of the metadata only.
    """
    from kzoo.errors import InputError

    names: dict[str, list[str]] = {}
    for pair in pairs or []:
        field, equals, columns = pair.partition("=")
        found = [column.strip() for column in columns.split(",")]
        if not equals or not all(found):
            raise InputError(
                f"--field must be FIELD=COLUMN[,COLUMN], such as text=body. Received: {pair!r}"
            )
        names.setdefault(field.strip(), []).extend(found)
    fields: dict[str, Any] = {}
    for field, columns_ in names.items():
        if field == "metadata":
            fields[field] = _with_types(columns_)
        elif field in ("id", "title"):
            if len(columns_) > 1:
                raise InputError(f"--field {field} takes one column; received {len(columns_)}.")
            fields[field] = columns_[0]
        else:  # the library knows which there are
            fields[field] = columns_
    return fields or None


def _with_types(columns: list[str]) -> list[str] | dict[str, str]:
    from kzoo.errors import InputError

    typed = [column for column in columns if ":" in column]
    if not typed:
        return columns
    if len(typed) < len(columns):
        plain = next(column for column in columns if ":" not in column)
        raise InputError(
            f"--field metadata must give every column a type or none; {plain!r} has none. "
            "Types: str, int, float, bool."
        )
    pairs = (column.rpartition(":") for column in columns)
    return {name: kind for name, _, kind in pairs}


_TEXT_ONLY = ("_id", "_title")


def parse_where(filters: list[str] | None) -> dict[str, Any] | None:
    """The filter that all `--where` make together.

    One that begins with `{` is JSON, in the dialect of `retrieval_index.filters`; any other is
    KEY=VALUE. The shell knows no types, so `year=2001` is the text as well as the number.

    Raises:
        InputError: If one is neither.
    """
    found = [_one(text) for text in filters or []]
    if not found:
        return None
    return found[0] if len(found) == 1 else {"$and": found}


def _one(text: str) -> dict[str, Any]:
    from kzoo.errors import InputError

    if text.lstrip().startswith("{"):
        try:
            parsed = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"--where {text!r:.80} is not JSON: {error}. In the shell, put single quotes "
                "around it, and double quotes inside."
            ) from error
        return dict(parsed)
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or key.endswith(("<", ">", "!")):
        raise InputError(
            "--where must be KEY=VALUE, such as lang=en, or JSON, such as "
            f'\'{{"year": {{"$gte": 2000}}}}\'. Received: {text!r:.80}'
        )
    return {key: _value(key, value.strip())}


def _value(key: str, text: str) -> Any:
    try:
        scalar = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    if isinstance(scalar, str | list | dict) or key in _TEXT_ONLY:
        return text
    return {"$in": [text, scalar]}


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def search_options(
    mode: str | None,
    where: list[str] | None,
    per_document: int | None,
    fusion: str | None,
    weights: tuple[float, float] | None,
    depth: int | None,
    rerank: str | None,
) -> dict[str, Any]:
    """Arguments of `Index.search`; those that were not given are left to the library.

    Raises:
        InputError: If options do not fit each other, or the model cannot be loaded.
    """
    from kzoo.errors import InputError

    if mode != "hybrid":
        for name, value in (("--fusion", fusion), ("--weights", weights)):
            if value is not None:
                raise InputError(f"{name} is about hybrid search; add --mode hybrid.")
        if depth is not None and rerank is None:
            raise InputError("--depth is about hybrid search and --rerank; add one of them.")
    return given(
        mode=mode,
        where=parse_where(where),
        per_document=per_document,
        fusion=fusion,
        weights=weights,
        depth=depth,
        rerank=None if rerank is None else load_cross_encoder(rerank),
    )


def load_cross_encoder(name: str) -> Any:
    """A `CrossEncoder` of sentence-transformers, by name or folder.

    Raises:
        InputError: If the package or the model is missing.
    """
    from kzoo.errors import InputError

    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise InputError(
            "--rerank needs sentence-transformers. Run: pip install 'kzoo[sentence-transformers]'"
        ) from error
    try:
        return CrossEncoder(name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"--rerank {name!r} cannot be loaded as a CrossEncoder: {reason:.300}"
        ) from error
