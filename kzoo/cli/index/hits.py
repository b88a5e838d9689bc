"""Hits on the screen, with the words of the query in bold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kzoo.cli import console

if TYPE_CHECKING:
    from rich.text import Text

    from retrieval_index import Index, Passage

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
