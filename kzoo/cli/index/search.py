"""`kzoo index search`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json

if TYPE_CHECKING:
    from retrieval_index import Index, Passage


def search(
    path: i.Folder,
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY]...", help="Questions, each in quotes. [asks for them]"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Passages for each question.")] = 5,
    mode: i.Mode = None,
    where: i.Where = None,
    per_document: i.PerDocument = None,
    fusion: i.Fusion = None,
    weights: i.Weights = None,
    depth: i.Depth = None,
    rerank: i.Rerank = None,
    snapshot: i.Snapshot = None,
    encoder: i.Encoder = None,
    no_checksums: i.NoChecksums = False,
    full: Annotated[bool, typer.Option("--full", help="Show passages to their end.")] = False,
    as_json: Json = False,
) -> None:
    """Search an index. Without a question it asks for questions until an empty line."""
    import retrieval_index
    from kzoo.cli.index.finding import search_options
    from kzoo.errors import InputError

    if any(not query.strip() for query in queries or ()):
        raise InputError("QUERY must not be blank.")
    options = search_options(mode, where, per_document, fusion, weights, depth, rerank)
    with retrieval_index.open(
        path, encoder, snapshot=snapshot, checksums=not no_checksums
    ) as opened:
        screen = _Screen(opened, full, as_json)
        if not queries:
            return _ask(opened, screen, k, options)
        answers = list(zip(queries, opened.search(list(queries), k, **options), strict=True))
        if as_json:
            return console.show_json([plain(query, found) for query, found in answers])
        for query, found in answers:
            screen.show(query, found)


class _Screen:
    """Shows answers, as text or as JSON."""

    def __init__(self, opened: Index, full: bool, as_json: bool) -> None:
        self._opened = opened
        self._full = full
        self._json = as_json
        self._words: Any = None

    def show(self, query: str, found: list[Passage]) -> None:
        if self._json:
            return console.show_json(plain(query, found))
        from kzoo.cli.index.hits import QueryWords, show_hits

        if self._words is None:
            self._words = QueryWords(self._opened)
        show_hits(query, found, self._words, self._full)


def _ask(opened: Index, screen: _Screen, k: int, options: dict[str, Any]) -> None:
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            print("query> ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            if not terminal:
                raise
            return console.say("")  # at the prompt, Ctrl-C is one of the ways to leave
        query = line.strip()
        if not line or (terminal and not query):
            return
        if query:
            screen.show(query, opened.search(query, k, **options))


def plain(query: str, found: list[Passage]) -> dict[str, Any]:
    """The answer to a query as JSON-ready data."""
    from dataclasses import asdict

    return {"query": query, "passages": [asdict(passage) for passage in found]}
