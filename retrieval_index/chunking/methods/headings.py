"""Sections of a Markdown text, each under its path of headings."""

from __future__ import annotations

from collections.abc import Iterator

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.markdown import Section, sections
from retrieval_index.chunking.methods.paragraphs import DIVISIONS
from retrieval_index.chunking.packing import pack
from retrieval_index.chunking.source import Source

SEPARATOR = " > "


def by_headings(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields the sections of a Markdown text; those beyond `size` units fall back to paragraphs.

    Each is encoded under its path, "Title > Heading > Subheading"; where that would take more than
    half of `size`, the outer parts are left out first. The line of a heading also stands in the
    first chunk of its section. A heading with nothing but subheadings below it opens the first of
    those sections.
    """
    for section in sections(source.text):
        heading, taken = _path(source, section, size)
        room = size - taken
        spans = pack(source, section.start, section.end, DIVISIONS, room, overlap * room // size)
        for start, end in spans:
            yield source.chunk(start, end, heading, source.count(start, end) + taken)


def _path(source: Source, section: Section, size: int) -> tuple[str, int]:
    """Returns the path of a section as far as it fits into half of `size`, and its units."""
    parts = [(_line(source.text[a:b]), source.count(a, b)) for a, b in section.path]
    # Often the title was read from the first heading.
    if source.title and (not parts or _line(source.title) != parts[0][0]):
        parts.insert(0, (source.title, len(source.title_units)))
    if not parts:
        return "", 0
    limit = size // 2
    kept, total = len(parts), 0
    while kept > 0:
        # A separator counts as one unit.
        cost = parts[kept - 1][1] + (1 if kept < len(parts) else 0)
        if total + cost > limit:
            break
        total += cost
        kept -= 1
    if kept < len(parts):
        return SEPARATOR.join(name for name, _ in parts[kept:]), total
    if not section.path:
        return source.heading(size)
    # Not even the innermost fits: as much of it as does.
    start, end = section.path[-1]
    ends = source.ends_within(start, end)[:limit]
    return (_line(source.text[start : min(end, ends[-1])]), len(ends)) if ends else ("", 0)


def _line(text: str) -> str:
    return " ".join(text.split())
