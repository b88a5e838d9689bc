"""The unit a corpus is made of, and the log of entries that make none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from retrieval_index.errors import CorpusError
from retrieval_index.report import Problem


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus.

    Attributes:
        id: Unique name; "" asks for `derived_id(title, text)`.
        text: Body; chunk offsets count its characters.
        title: Encoded together with every chunk, but no part of the offsets.
        metadata: JSON-ready data, returned with each hit.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """16 bytes of BLAKE2b over title and text, by which the same text is found again.

        Neither id nor metadata count. The length of the title goes first, so that no two different
        pairs give the same bytes.
        """
        title = self.title.encode("utf-8", "surrogatepass")
        state = hashlib.blake2b(len(title).to_bytes(8, "little"), digest_size=16)
        state.update(title)
        state.update(self.text.encode("utf-8", "surrogatepass"))
        return state.digest()


class Entry(NamedTuple):
    """A document and the place it was read from, for messages."""

    document: Document
    where: str


def derived_id(title: str, text: str) -> str:
    """Returns the id of a document that has none: 16 hex digits of the SHA-1 of its title and text.

    The same text always gets the same id, so a rebuilt index keeps its ids and a repeated text
    without an id is seen as the duplicate it is.
    """
    return hashlib.sha1(f"{title}\n{text}".encode(), usedforsecurity=False).hexdigest()[:16]


MAX_EXAMPLES = 20


class ProblemLog:
    """Counts unusable entries by reason and keeps the first few with their places.

    Args:
        strict: Whether the first unusable entry ends the build.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.skipped: Counter[str] = Counter()
        self.ignored_files: Counter[str] = Counter()
        self.examples: list[Problem] = []

    def add(self, reason: str, where: str, detail: str) -> None:
        """Records one entry.

        Args:
            reason: Short name of the kind.
            where: Place of the entry.
            detail: One sentence without a full stop.

        Raises:
            CorpusError: If the log is strict.
        """
        if self.strict:
            raise CorpusError(
                f"`corpus` has an unusable entry at {where}: {detail}. Mend it, or build with "
                "`strict=False`, which passes over such entries and counts them."
            )
        self.skipped[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Problem(reason, where, detail))

    def ignore_file(self, suffix: str) -> None:
        """Counts a file that is of no readable kind; never an error, as folders hold such files."""
        self.ignored_files[suffix or "(no suffix)"] += 1

    def summary(self) -> str:
        """Returns one line for a person: counts by reason and the first places."""
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.skipped.items()))
        places = "; ".join(f"{p.where}: {p.detail}" for p in self.examples[:3])
        return f"{sum(self.skipped.values())} entries passed over ({counts}). First: {places}."
