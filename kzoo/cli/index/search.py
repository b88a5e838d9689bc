"""`kzoo index search`."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json

if TYPE_CHECKING:
    from rich.text import Text

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
    from kzoo.cli.index.parameters import search_options
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


SHOWN = 320  # characters of a passage
LONGEST_WORD = 30
HIGHLIGHT = "bold yellow"
_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")

Spans = list[tuple[int, int]]


class QueryWords:
    """Finds the words of a query in passages, as the lexical index of the index sees them.

    Args:
        opened: Its language decides what counts as the same word; without a lexical part that is
            the very word, in upper or lower case.
    """

    def __init__(self, opened: Index) -> None:
        from retrieval_index.lexical.analyzer import Analyzer

        lexical = opened.info()["lexical"]
        self._analyzer = (
            Analyzer.from_settings(lexical["analyzer"]) if lexical else Analyzer("none")
        )

    def spans(self, query: str, text: str) -> Spans:
        """Start and end of every word of the query in a text."""
        wanted = set(self._analyzer.tokens(query))
        found: Spans = []
        for match in _WORD.finditer(text):
            terms = self._analyzer.tokens(match.group())
            if len(terms) == 1 and terms[0] in wanted:
                found.append(match.span())
            elif len(terms) > 1:  # a script without spaces: its terms stand inside the run
                for term in wanted & set(terms):
                    start = match.group().find(term)
                    if start >= 0:
                        place = match.start() + start
                        found.append((place, place + len(term)))
        return found


def show_hits(query: str, found: list[Passage], words: QueryWords, full: bool = False) -> None:
    """Prints the hits of one query: place, score, heading, and the passage below.

    Args:
        query: The query.
        found: Its hits.
        words: Finds what to highlight.
        full: Show passages to their end.
    """
    from rich.padding import Padding
    from rich.text import Text

    target = console.console()
    target.print(Text(query, style="bold"), soft_wrap=True)
    if not found:
        target.print("    nothing found")
    for passage in found:
        target.print()
        target.print(_headline(passage))
        text = _excerpt(passage.text, words, query, full)
        target.print(Padding(text, (0, 0, 0, 4)))
    target.print()


def _headline(passage: Passage) -> Text:
    from rich.text import Text

    line = Text(f"{passage.rank:>2}. ")
    line.append(f"{passage.score:.3f}  ", style="cyan")
    line.append(passage.document_id, style="bold")
    line.append(f" [{passage.start}:{passage.end}]", style="dim")
    heading = passage.heading or passage.title
    if heading and heading != passage.document_id:
        line.append(f"  {_SPACE.sub(' ', heading)}", style="italic")
    return line


def _excerpt(raw: str, words: QueryWords, query: str, full: bool) -> Any:
    from rich.text import Text

    text = _SPACE.sub(" ", raw).strip()
    spans = words.spans(query, text)
    start, end = (0, len(text)) if full else window(len(text), spans)
    # Begin and end with a whole word, where words have spaces between.
    if start:
        start = _near(text.find(" ", start) + 1, start)
    if end < len(text):
        end = _near(text.rfind(" ", 0, end), end)
    shown = Text("... " if start else "")
    shift = len(shown) - start
    shown.append(text[start:end])
    if end < len(text):
        shown.append(" ...")
    for first, last in spans:
        if start <= first and last <= end:
            shown.stylize(HIGHLIGHT, first + shift, last + shift)
    return shown


def _near(place: int, wanted: int) -> int:
    return place if abs(place - wanted) <= LONGEST_WORD else wanted


def window(length: int, spans: Spans, size: int = SHOWN) -> tuple[int, int]:
    """The `size` characters of a text that hold the most of some spans, a little before them.

    Args:
        length: Of the text.
        spans: Starts and ends, ascending.
        size: Wanted.

    Returns:
        Start and end; the whole text if it is shorter.
    """
    if length <= size:
        return 0, length
    best, start = 0, 0
    for first, _ in spans:
        inside = sum(first <= s and e <= first + size * 3 // 4 for s, e in spans)
        if inside > best:
            best, start = inside, first
    start = max(0, min(start - size // 4, length - size))
    return start, start + size
