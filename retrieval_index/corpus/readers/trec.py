"""TREC collections: `<DOC><DOCNO>name</DOCNO>...</DOC>`."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from retrieval_index.corpus.byte_source import READ_ERRORS, open_bytes, unreadable
from retrieval_index.corpus.decoding import UndecodableError
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import ColumnWatch
from retrieval_index.corpus.lines import MAX_ENTRY_BYTES, RawLine, raw_lines, shown_bytes
from retrieval_index.corpus.reader import Reader, ReadOptions
from retrieval_index.corpus.records import to_document

EDGE = re.compile(r"<(/?)[Dd][Oo][Cc](?:\s[^<>]*)?>")  # IGNORECASE would be many times slower
TAG = re.compile(r"<(/?)([A-Za-z][\w.-]*)(?:\s[^<>]*)?/?>")
ID_TAG = "docno"
TEXT_TAGS = ("text", "body", "abstract", "summary", "contents")
TITLE_TAGS = ("title", "headline", "head", "hl", "ti")
NO_TEXT_TAGS = ("_id", "docno", "dochdr", "title")
SPACES = re.compile(r"[ \t]{2,}|\t")


def read_trec(path: Path, name: str, options: ReadOptions, log: ProblemLog) -> Iterator[Entry]:
    """Yields one document a `<DOC>`; tags may be of either case.

    Without `fields=`, the id is DOCNO; the title is TITLE, HEADLINE, HEAD, HL or TI, the first
    there is; the text is TEXT, BODY, ABSTRACT, SUMMARY and CONTENTS, all that there are, or all
    outside of any tag if there are none of these; further tags become metadata. `fields=` names
    tags in lower case (or as they are). Tags inside of a field are taken out, entities resolved.

    Raises:
        CorpusError: If the file cannot be read (always), or a document is unusable (when the log is
            strict).
    """
    watch = ColumnWatch(options.columns, name)
    try:
        with open_bytes(path) as file:
            parser = _Splitter(name, log)
            for line in raw_lines(file, options.decoding):
                for where, body in parser.feed(line):
                    record = _record(body, options)
                    watch.see(record)
                    document = to_document(record, where, log, options)
                    if document is not None:
                        yield Entry(document, where)
            parser.finish()
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    watch.finish()


class _Splitter:
    """Cuts the lines of a file into documents."""

    def __init__(self, name: str, log: ProblemLog) -> None:
        self._name = name
        self._log = log
        self._parts: list[str] | None = None  # None outside of a document
        self._size = 0
        self._where = name
        self._problem: tuple[str, str] | None = None
        self._bad_line: tuple[str, str] | None = None
        self._stray = False

    def feed(self, line: RawLine) -> Iterator[tuple[str, str]]:
        """Yields place and inside of each document that ends in this line."""
        where = f"{self._name} line {line.number} (byte {line.offset})"
        text = self._text(line, where)
        at = 0
        for edge in EDGE.finditer(text):
            self._hold(text[at : edge.start()], where)
            at = edge.end()
            if not edge.group(1):
                self._begin(where)
            elif self._parts is None:
                self._log.add("stray_tag", where, "a </DOC> without its <DOC>")
            else:
                body, problem = "".join(self._parts), self._problem
                self._parts = self._problem = None
                if problem is not None:
                    self._log.add(problem[0], self._where, problem[1])
                else:
                    yield self._where, body
        self._hold(text[at:], where)

    def finish(self) -> None:
        """Ends the file."""
        if self._parts is not None:
            self._log.add("unclosed_doc", self._where, "a <DOC> without its </DOC>")

    def _text(self, line: RawLine, where: str) -> str:
        self._bad_line = None
        if line.data is None:
            limit = shown_bytes(MAX_ENTRY_BYTES)
            text, problem = "", ("too_large", f"a line is longer than {limit}")
        else:
            try:
                return line.text()
            except UndecodableError as error:
                # The tags in the line are needed: the documents around it are good.
                text = line.data.decode(line.decoding.encoding, "replace")
                problem = error.reason, error.detail
        self._bad_line = problem  # of every document that has a part in it
        if self._parts is not None:
            self._problem = self._problem or problem
        elif EDGE.search(text) is None:
            self._log.add(problem[0], where, problem[1])
        return text

    def _begin(self, where: str) -> None:
        if self._parts is not None:
            self._log.add("unclosed_doc", self._where, "another <DOC> comes before its </DOC>")
        self._parts, self._where, self._problem, self._size = [], where, self._bad_line, 0
        self._stray = False

    def _hold(self, text: str, where: str) -> None:
        if self._parts is None:
            # One problem for each stretch, not for each line of it.
            if text.strip() and not self._stray:
                self._stray = True
                self._log.add("stray_text", where, f"text outside of <DOC>: {text.strip()[:40]!r}")
            return
        self._size += len(text)
        if self._size <= MAX_ENTRY_BYTES:
            self._parts.append(text)
            return
        self._parts.clear()
        limit = shown_bytes(MAX_ENTRY_BYTES)
        self._problem = self._problem or ("too_large", f"the document is longer than {limit}")


def _record(body: str, options: ReadOptions) -> dict[str, str]:
    """Returns the fields of a document by the lower-case names of their tags."""
    found, outside = _top_level(body)
    if options.fields is not None:
        # As they are written in `fields`, else in lower case.
        asked = {name.lower(): name for name in options.fields.named}
        found = {asked.get(tag, tag): value for tag, value in found.items()}
    columns = options.columns
    if columns.id is None and ID_TAG in found:
        found["_id"] = found.pop(ID_TAG)
    if columns.title is None:
        tag = next((tag for tag in TITLE_TAGS if tag in found), None)
        if tag is not None:
            found[columns.title_column] = found.pop(tag)
    if columns.text is None:
        tags = [tag for tag in TEXT_TAGS if tag in found]
        if not tags and not outside:  # a web page, say
            tags = [tag for tag in found if tag not in NO_TEXT_TAGS]
        parts = [found.pop(tag) for tag in tags]
        found["text"] = _joined(parts) if parts else outside
    return found


def _top_level(body: str) -> tuple[dict[str, str], str]:
    """Returns the fields, those of one name joined by a blank line, and the text outside of all."""
    tags = list(TAG.finditer(body))
    ends: dict[str, list[int]] = {}
    for number, tag in enumerate(tags):
        if tag.group(1):
            ends.setdefault(tag.group(2).lower(), []).append(number)
    found: dict[str, list[str]] = {}
    outside: list[str] = []
    at = number = 0
    while number < len(tags):
        tag = tags[number]
        name = tag.group(2).lower()
        closing = ends.get(name, [])
        where = bisect_left(closing, number)
        number += 1
        if tag.group(1) or where == len(closing):
            continue  # no field, such as <p> in the old collections
        outside.append(body[at : tag.start()])
        end = tags[closing[where]]
        found.setdefault(name, []).append(_clean(body[tag.end() : end.start()]))
        at = end.end()
        number = closing[where] + 1
    outside.append(body[at:])
    joined = {name: _joined(values) for name, values in found.items()}
    return joined, _clean("".join(outside))


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _clean(text: str) -> str:
    bare = html.unescape(TAG.sub(" ", text)) if "<" in text or "&" in text else text
    return "\n".join(SPACES.sub(" ", line).strip() for line in bare.split("\n")).strip()


TREC = Reader("TREC", (".trec", ".trectext", ".sgml"), read_trec, place=5)
