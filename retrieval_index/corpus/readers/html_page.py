"""HTML pages."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from retrieval_index.corpus.byte_source import open_bytes, read_at_most
from retrieval_index.corpus.decoding import Decoding, text_codec
from retrieval_index.corpus.lines import MAX_ENTRY_BYTES
from retrieval_index.corpus.reader import Extract, Reader, UnusableFileError

# The HTML standard looks for the declaration in the first 1024 bytes; many pages are less tidy.
CHARSET = re.compile(
    rb"""<meta[^>]{0,512}?charset\s*=\s*["']?\s*([\w.:-]+)"""
    rb"""|^\s*<\?xml[^>]{0,512}?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)
CHARSET_HEAD = 4096
# Browsers read these names as the larger Windows code page.
WINDOWS = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254"}
DROPPED = frozenset(("script", "style", "nav", "noscript", "template", "iframe", "object", "svg"))
PARAGRAPHS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body center dd details dialog div dl dt fieldset "
        "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr main menu ol p pre section "
        "summary table ul",
    )
)
LINES = frozenset({"br", "li", "tr", "caption", "option"})
CELLS = frozenset({"td", "th"})
CDATA = "CDATA["
SPACE = re.compile(r"\s+")


def read_html(path: Path, decoding: Decoding) -> Extract:
    """Returns the visible text of a page: paragraphs are divided by blank lines.

    The title is that of `<title>`, or else of the first `<h1>`. Script, style, navigation and what
    else is not read by people is dropped. The encoding is that of the byte order mark, or of the
    page's `<meta>`, or `decoding`. The parser is `html.parser`.

    Raises:
        UndecodableError, TooLargeError, UnusableFileError: If it is no text, too long, or cannot
            be parsed.
        OSError, EOFError, zlib.error: If it cannot be read.
    """
    with open_bytes(path) as file:
        data = read_at_most(file, MAX_ENTRY_BYTES)
    markup = declared(data, decoding).decode_file(data)
    page = _Page()
    try:
        page.feed(closed(markup))
        page.close()
    except AssertionError as error:  # which html.parser raises for a few broken declarations
        raise UnusableFileError("not_html", f"it cannot be parsed as HTML ({error})") from error
    return page.extract()


def declared(data: bytes, decoding: Decoding) -> Decoding:
    """Returns the decoding that a page names for itself, or the given one."""
    match = CHARSET.search(data[:CHARSET_HEAD])
    name = (
        text_codec((match.group(1) or match.group(2)).decode("ascii", "replace")) if match else None
    )
    if name is None:
        return decoding
    if name.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        name = "utf-8"  # else the declaration could not have been found
    return replace(decoding, encoding=WINDOWS.get(name, name))


# Beginning of a construct, and what ends it.
CONSTRUCTS = (
    (re.compile("<!--"), re.compile(r"--!?\s{0,64}>")),
    (re.compile(r"<!\["), re.compile(r"\]\s{0,64}>")),
    (re.compile("<"), re.compile(">")),
)


def closed(markup: str) -> str:
    """Returns a page in which every `<` that nothing ends is the character `&lt;`.

    That is how browsers show most of them, and html.parser before Python 3.14 looks for the end of
    each through the whole page: minutes, for a cut or binary file of 100 KB.
    """
    for begin, end in CONSTRUCTS:
        last = 0
        for match in end.finditer(markup):
            last = match.end()
        rest = begin.sub(lambda match: f"&lt;{match.group()[1:]}", markup[last:])
        markup = markup[:last] + rest
    return markup


class _Page(HTMLParser):
    """Takes the text out of a page while it is parsed.

    There is no tree: old pages leave their paragraphs open, which would nest a tree so deep that
    Beautiful Soup's time grows with the square of the page.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks = _Blocks()
        self._dropped: list[str] = []
        self._preformatted = 0
        self._heads: dict[str, list[str]] = {"title": [], "h1": []}
        self._head = ""  # the one we are in

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropped:
            if tag == self._dropped[0]:
                self._dropped.append(tag)
        elif tag in DROPPED:
            self._dropped.append(tag)
        else:
            if self._head == "title":  # left open: it has no tags in it
                self._head = ""
            self._edge(tag)
            self._preformatted += tag == "pre"
            if tag in self._heads and not "".join(self._heads[tag]).strip():
                self._head = tag

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            if tag == self._dropped[0]:
                self._dropped.pop()
            return
        self._edge(tag)
        if tag == "pre" and self._preformatted:
            self._preformatted -= 1
        if tag == self._head:
            self._head = ""

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        if self._head:
            self._heads[self._head].append(data)
        if self._head != "title":
            self._blocks.add(data if self._preformatted else SPACE.sub(" ", data))

    def unknown_decl(self, data: str) -> None:
        if data.startswith(CDATA):
            self.handle_data(data.removeprefix(CDATA))

    def _edge(self, tag: str) -> None:
        if tag in PARAGRAPHS or tag in LINES:
            self._blocks.end_line(blank=tag in PARAGRAPHS)
        elif tag in CELLS:
            self._blocks.add(" ")

    def extract(self) -> Extract:
        """Returns text and title, when all is parsed."""
        self._blocks.end_line(blank=False)
        titles = (SPACE.sub(" ", "".join(parts)).strip() for parts in self._heads.values())
        return Extract("\n".join(self._blocks.lines), next(filter(None, titles), ""))


class _Blocks:
    """Lines of text with at most one blank line between them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._line: list[str] = []
        self._blank = False

    def add(self, text: str) -> None:
        self._line.append(text)

    def end_line(self, *, blank: bool) -> None:
        """Ends the line, if there is anything in it, and asks for a blank one after it."""
        joined = "".join(self._line)
        lines = joined.split("\n")  # more than one in <pre>, where spaces matter
        for line in lines if len(lines) > 1 else [re.sub(" +", " ", joined).strip()]:
            if line.strip():
                if self._blank and self.lines:
                    self.lines.append("")
                self._blank = False
                self.lines.append(line.rstrip())
        self._line.clear()
        self._blank |= blank


HTML = Reader("HTML", (".html", ".htm"), document=read_html, place=8)
