"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """One hit.

    Attributes:
        score: Dense search: inner product of query and passage vector, the cosine when the index
            normalises. Lexical search: BM25. Hybrid search: the fused score. With `rerank`: what
            that returned.
        document_id: Id of the document the passage is part of.
        title: Title of the document, or "".
        chunk_id: Number of the passage in this version of the index, from 0. Adding documents
            leaves it; compaction and merging do not.
        start: First character of the passage in the text of the document.
        end: One past its last character, so that `document.text[start:end] == text`.
        text: The passage itself.
        heading: What was encoded before the text: the title, or the path of Markdown headings
            "A > B" (chunking by headings); "" without either.
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
    heading: str
    metadata: Mapping[str, Any]
    rank: int
