"""`kzoo index`: build, search and look at a retrieval index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p

if TYPE_CHECKING:
    from retrieval_index import Index, Passage

index = typer.Typer(
    help="Build, search and look at an index of passages.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the index.")]


@index.command()
def build(
    corpus: Annotated[
        str,
        typer.Argument(help="A .jsonl file, a folder of .txt and .md files, or 'python-docs'."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new index.")],
    encoder: Annotated[
        str, typer.Option(help="'kzoo:NAME', 'sentence-transformers:NAME' or 'hashing'.")
    ] = "kzoo:minilm-encoder",
    chunk_size: Annotated[int | None, typer.Option(help="Most tokens in a passage.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Tokens repeated between passages.")] = None,
    strict: p.Strict = False,
    overwrite: p.Overwrite = False,
) -> None:
    """Build an index of a corpus. A build that was broken off continues where it was."""
    import retrieval_index

    try:
        made = retrieval_index.build(
            _corpus(corpus),
            out,
            encoder,
            chunk_size=chunk_size,
            overlap=overlap,
            strict=strict,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "the same command continues with the passages that are encoded already"
        ) from None
    with made:
        report = made.report
        facts = {
            "documents": console.count(report.documents),
            "passages": console.count(report.chunks),
            "taken over": console.count(report.reused_chunks) if report.reused_chunks else None,
            "left out": _counts(report.skipped),
            "ignored files": _counts(report.ignored_files),
            "seconds": f"{report.seconds:.1f} ({report.encode_seconds:.1f} in the encoder)",
            "size": console.megabytes(made.info()["size_bytes"]),
        }
    console.show(console.facts(facts, title=str(out)))
    console.show(f"Next: kzoo index search {out} 'a question'")


@index.command()
def search(
    path: Folder,
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY]...", help="Questions, each in quotes. [asks for them]"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages for each question.")] = 5,
    encoder: Annotated[
        str | None, typer.Option(help="Name of the encoder, where the index cannot tell it.")
    ] = None,
    as_json: p.Json = False,
) -> None:
    """Search an index. Without a question it asks for questions until an empty line."""
    import retrieval_index

    with retrieval_index.open(path, encoder) as opened:
        if queries:
            answers = list(zip(queries, opened.search(list(queries), k), strict=True))
            if as_json:
                console.show_json([_plain(query, found) for query, found in answers])
            else:
                for query, found in answers:
                    _show(query, found)
            return
        _ask(opened, k, as_json)


@index.command("info")
def index_info(
    path: Folder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything and check it, vectors too.")
    ] = False,
    as_json: p.Json = False,
) -> None:
    """Show what an index is made of."""
    import retrieval_index

    checked = retrieval_index.verify(path) if verify else None
    with retrieval_index.open(path) as opened:
        found: dict[str, Any] = opened.info()
    if as_json:
        return console.show_json(found | ({"verified": checked} if checked else {}))
    encoder, chunker = found["encoder"], found["chunker"]
    kinds = sorted({segment["vectors"]["factory"] for segment in found["segments"]})
    facts = {
        "documents": console.count(found["documents"]),
        "passages": console.count(found["chunks"]),
        "left out": _counts(found["skipped"]),
        "encoder": f"{encoder['name']}, {encoder['dimension']} dimensions",
        "passages of": f"{chunker['size']} {chunker['units']}, overlap {chunker['overlap']}",
        "vectors": ", ".join(kinds),
        "size": console.megabytes(found["size_bytes"]),
        "created": found["created"],
        "verified": f"{checked['files']} files, {checked['vectors']} vectors" if checked else None,
    }
    console.show(console.facts(facts, title=found["path"]))


def _corpus(name: str) -> Any:
    """A path, or the documents of a corpus that is known by name."""
    from kzoo import datasets

    known = [entry.name for entry in datasets.list() if entry.kind == "corpus"]
    return datasets.corpus(name) if name in known and not Path(name).exists() else name


def _ask(opened: Index, k: int, as_json: bool) -> None:
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            print("query> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        query = line.strip()
        if not line or (terminal and not query):
            return
        if not query:
            continue
        found = opened.search(query, k)
        if as_json:
            console.show_json(_plain(query, found))
        else:
            _show(query, found)


def _show(query: str, found: list[Passage]) -> None:
    from rich.text import Text

    rows = console.table("#", "score", "document", "passage", right=("#", "score"), title=query)
    for passage in found:
        text = " ".join(passage.text.split())
        shown = text if len(text) <= 240 else text[:237] + "..."
        name = passage.document_id
        if passage.title and passage.title != name:
            name += f"\n{passage.title}"
        rows.add_row(str(passage.rank), f"{passage.score:.3f}", Text(name), Text(shown))
    console.show(rows)


def _plain(query: str, found: list[Passage]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"query": query, "passages": [asdict(passage) for passage in found]}


def _counts(found: Any) -> str | None:
    return ", ".join(f"{count} {reason}" for reason, count in found.items()) or None
