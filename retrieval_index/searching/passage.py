"""What a search returns, and its scores made anew by a slower, better model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from retrieval_index.errors import ArgumentError


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


def rerank_passages(
    rerank: Callable[..., Any] | Any, query: str, passages: list[Passage], k: int
) -> list[Passage]:
    """Returns the k best passages by the scores of `rerank`.

    Args:
        rerank: `rerank(query, texts)`, or an object with `predict([(query, text), ...])`.
        query: The query.
        passages: Candidates; where scores tie, their order is kept.
        k: Passages wanted.

    Raises:
        ArgumentError: If `rerank` is neither, or does not return one finite number a text.
    """
    import numpy as np

    if not passages:
        return []
    texts = [f"{p.title}\n{p.text}" if p.title else p.text for p in passages]
    predict = getattr(rerank, "predict", None)
    if callable(predict):
        found = predict([(query, text) for text in texts])
    elif callable(rerank):
        found = rerank(query, texts)
    else:
        raise ArgumentError(
            "`rerank` must be a function of (query, texts) or have a method `predict`; received: "
            f"{type(rerank).__name__}."
        )
    scores = np.asarray(found, dtype=np.float64)
    if scores.shape != (len(texts),) or not np.isfinite(scores).all():
        raise ArgumentError(
            f"`rerank` must return one finite number for each of {len(texts)} texts; received an "
            f"array of shape {scores.shape}."
        )
    best = np.argsort(-scores, kind="stable")[:k]
    return [
        replace(passages[place], score=float(scores[place]), rank=rank)
        for rank, place in enumerate(best.tolist(), start=1)
    ]
