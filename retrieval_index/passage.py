"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """One hit.

    Attributes:
        score: Inner product of query and passage vector; the cosine when the index normalises.
        document_id: Id of the document the passage is part of.
        title: Title of the document, or "".
        chunk_id: Number of the passage in the index, from 0.
        start: First character of the passage in the text of the document.
        end: One past its last character, so that `document.text[start:end] == text`.
        text: The passage itself.
        metadata: Metadata of the document.
        rank: Place in the answer, from 1.
    """

    score: float
    document_id: str
    title: str
    chunk_id: int
    start: int
    end: int
    text: str
    metadata: Mapping[str, Any]
    rank: int
