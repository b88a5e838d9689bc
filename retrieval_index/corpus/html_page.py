"""HTML pages."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval_index.corpus.byte_source import open_bytes, read_at_most
from retrieval_index.corpus.decoding import Decoding, text_codec
from retrieval_index.corpus.documents import Extract, UnusableFileError
from retrieval_index.corpus.limits import MAX_ENTRY_BYTES
from retrieval_index.corpus.packages import needed

# The HTML standard looks for the declaration in the first 1024 bytes; many pages are less tidy.
CHARSET = re.compile(
    rb"""<meta[^>]{0,512}?charset\s*=\s*["']?\s*([\w.:-]+)"""
    rb"""|^\s*<\?xml[^>]{0,512}?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)
CHARSET_HEAD = 4096
# Browsers read these names as the larger Windows code page.
WINDOWS = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254"}
DROPPED = frozenset(
    ("script", "style", "nav", "noscript", "template", "iframe", "object", "svg", "title")
)
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
# Comments, doctypes and the like are strings too.
TEXTS = frozenset({"NavigableString", "CData", "RubyTextString", "RubyParenthesisString"})
SPACE = re.compile(r"\s+")


def read_html(path: Path, decoding: Decoding) -> Extract:
    """Returns the visible text of a page: paragraphs are divided by blank lines.

    The title is that of `<title>`, or else of the first `<h1>`. Script, style, navigation and what
    else is not read by people is dropped. The encoding is that of the byte order mark, or of the
    page's `<meta>`, or `decoding`.

    Raises:
        UndecodableError, TooLargeError, UnusableFileError: If it is no text, too long, or cannot
            be parsed.
        OSError, EOFError, zlib.error: If it cannot be read.
        CorpusError: If beautifulsoup4 is not installed.
    """
    soup_type = needed("bs4", path).BeautifulSoup
    with open_bytes(path) as file:
        data = read_at_most(file, MAX_ENTRY_BYTES)
    markup = declared(data, decoding).decode_file(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # guesses that the page is XML or a file name
            soup = soup_type(closed(markup), "html.parser")
        return Extract(_visible(soup), _title(soup))
    # For broken declarations html.parser and bs4 raise errors of several kinds, AssertionError and
    # RecursionError among them.
    except Exception as error:
        reason = " ".join(str(error).split())[-120:]
        raise UnusableFileError("not_html", f"it cannot be parsed as HTML ({reason})") from error


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


def _title(soup: Any) -> str:
    for tag in ("title", "h1"):
        found = soup.find(tag)
        if found is not None and (title := SPACE.sub(" ", found.get_text()).strip()):
            return title
    return ""


def _visible(soup: Any) -> str:
    """Returns the text that a browser would show, each block on its own."""
    blocks = _Blocks()
    preformatted = 0
    # A page may be nested deeper than Python may recurse. Each element comes up twice.
    stack: list[tuple[Any, bool]] = [(soup, True)]
    while stack:
        node, entering = stack.pop()
        name = node.name
        if name is None:
            if type(node).__name__ in TEXTS:
                blocks.add(str(node) if preformatted else SPACE.sub(" ", node))
            continue
        if name in DROPPED:
            continue
        preformatted += (1 if entering else -1) if name == "pre" else 0
        if name in PARAGRAPHS or name in LINES:
            blocks.end_line(blank=name in PARAGRAPHS)
        elif name in CELLS:
            blocks.add(" ")
        if entering:
            stack.append((node, False))
            stack.extend((child, True) for child in reversed(node.contents))
    blocks.end_line(blank=False)
    return "\n".join(blocks.lines)


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
