"""The sections of a Markdown text, by the rules of CommonMark 0.31 for headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from retrieval_index.chunking.units import Span

_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\n|\r|$)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_ATX_CLOSING = re.compile(r"(?:^|[ \t])#+$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MARKER = r"(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]|$))"
_FENCE = re.compile(rf" {{0,3}}(?P<inside>(?:{_MARKER}[ \t]*)*)(?P<mark>`{{3,}}(?=[^`]*$)|~{{3,}})")
_THEMATIC_BREAK = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
# Lines that begin something a setext underline does not turn into a heading.
_CONTAINER = re.compile(rf" {{0,3}}{_MARKER}")
# What raw HTML goes on to: its own end, or a blank line.
_RAW_HTML = re.compile(r" {0,3}<(?:(!--)|(script|pre|style|textarea)(?:[\s>]|$))", re.IGNORECASE)
_HTML_BLOCK = re.compile(
    r" {0,3}</?(?:address|article|aside|blockquote|body|center|d[dlt]|details|dialog|div|fieldset"
    r"|figcaption|figure|footer|form|h[1-6r]|head|header|html|iframe|li|link|main|menu|nav|ol|p"
    r"|section|summary|table|tbody|td|tfoot|th|thead|title|tr|ul)(?:[\s>]|/>|$)",
    re.IGNORECASE,
)
_LONE_TAG = re.compile(r" {0,3}<(?:/[A-Za-z][\w-]*\s*|[A-Za-z][\w-]*(?:\s[^<>]*)?)>\s*$")
_BLANK = re.compile(r"^\s*$")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a text under one heading.

    Attributes:
        start: First character: where the line of the heading begins.
        end: Character behind the last.
        path: Spans of the headings above it and of its own, outermost first; none before the
            first heading.
    """

    start: int
    end: int
    path: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 to 6, the span of its lines, and the span of what it says."""

    level: int
    start: int
    end: int
    content: Span


def sections(text: str) -> Iterator[Section]:
    """Yields the sections of a text, in order; together they are the whole text.

    A heading followed by nothing but a deeper heading has no section of its own: it belongs to
    the first section below it.
    """
    path: list[Heading] = []
    begin, body = 0, 0  # where the section begins, and where its text does
    for heading in headings(text):
        deeper = bool(path) and heading.level > path[-1].level
        if not (deeper and begin < body and not text[body : heading.start].strip()):
            if text[begin : heading.start].strip():
                yield Section(begin, heading.start, _contents(path))
            begin = heading.start
        path = [*(above for above in path if above.level < heading.level), heading]
        body = heading.end
    if text[begin:].strip():
        yield Section(begin, len(text), _contents(path))


def headings(text: str) -> Iterator[Heading]:
    """Yields the ATX (`# A`) and setext (underlined) headings of a text.

    None inside fenced or indented code, YAML front matter, an HTML comment, or a script, pre,
    style or textarea element; and none on the line of a list item or a quotation.
    """
    closes: re.Pattern[str] | None = None  # what ends the code or HTML the line lies in
    paragraph: int | None = None  # where the paragraph began that an underline makes a heading
    lazy = False  # inside a list or quotation, whose text may go on without its marker
    end = _front_matter_end(text)
    while end < len(text):
        match = _LINE.match(text, end)
        assert match is not None
        start, end = match.span()
        line = match[1]
        if closes is not None:
            if closes.search(line):
                closes = None
            continue
        if not line.strip():
            paragraph, lazy = None, False
            continue
        if fence := _FENCE.match(line):
            mark, indent = fence["mark"], "[ \t>]*" if fence["inside"] else " {0,3}"
            closes = re.compile(rf"^{indent}{mark[0]}{{{len(mark)},}}[ \t]*$")
            paragraph = None
        elif html := _RAW_HTML.match(line):
            closing = re.compile("-->" if html[1] else f"</{html[2]}>", re.IGNORECASE)
            closes = None if closing.search(line, html.end()) else closing
            paragraph = None
        elif _HTML_BLOCK.match(line) or (paragraph is None and not lazy and _LONE_TAG.match(line)):
            closes, paragraph = _BLANK, None
        elif lazy and line.startswith("  "):
            pass  # inside the item of a list
        elif atx := _ATX.match(line):
            yield Heading(len(atx[1]), start, end, _atx_content(line, atx.end(), start))
            paragraph, lazy = None, False
        elif paragraph is not None and (underline := _SETEXT.match(line)):
            content = _stripped(text, paragraph, start)
            yield Heading(1 if underline[1][0] == "=" else 2, content[0], end, content)
            paragraph = None
        elif _THEMATIC_BREAK.match(line):
            paragraph, lazy = None, False
        elif container := _CONTAINER.match(line):
            paragraph, lazy = None, bool(line[container.end() :].strip())
        elif paragraph is None and not lazy and not _indented(line):
            paragraph = start


def _front_matter_end(text: str) -> int:
    """Returns where the Markdown begins: behind a first block between lines of `---`."""
    match = re.match(
        r"\ufeff?---[ \t]*\r?\n(?![ \t]*\r?\n)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", text
    )
    return match.end() if match else 0


def _atx_content(line: str, first: int, offset: int) -> Span:
    content = line[first:].rstrip()
    closing = _ATX_CLOSING.search(content)
    if closing:
        content = content[: closing.start()].rstrip()
    return offset + first, offset + first + len(content)


def _stripped(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _indented(line: str) -> bool:
    return line.expandtabs(4).startswith("    ")


def _contents(path: list[Heading]) -> tuple[Span, ...]:
    return tuple(heading.content for heading in path if heading.content[0] < heading.content[1])
