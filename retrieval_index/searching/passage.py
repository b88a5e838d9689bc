"""What a search returns, and its scores made anew by a slower, better model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]
    Numbers = npt.NDArray[np.int64]
    Ranking = tuple[Scores, Numbers]


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


def merge_segments(parts: list[tuple[Scores, Numbers]], bases: list[int], k: int) -> list[Ranking]:
    """Returns one ranking a query out of each segment's.

    Args:
        parts: For each segment scores and passage numbers of shape (queries, n), best first, padded
            with the number -1.
        bases: Number of each segment's first passage in the whole index.
        k: Hits kept for each query.

    Returns:
        For each query up to k hits; where scores tie, the passage with the lower number is first.
    """
    import numpy as np

    scores = np.concatenate([part[0] for part in parts], axis=1)
    numbers = np.concatenate(
        [
            np.where(part[1] >= 0, part[1] + base, -1)
            for part, base in zip(parts, bases, strict=True)
        ],
        axis=1,
    )
    found = []
    for row_scores, row_numbers in zip(scores, numbers, strict=True):
        real = row_numbers >= 0
        found.append(ranked(row_scores[real], row_numbers[real], k))
    return found


def ranked(scores: Scores, numbers: Numbers, k: int) -> Ranking:
    """Returns the k best, by falling score and then by rising number."""
    import numpy as np

    order = np.lexsort((numbers, -scores))[:k]
    return scores[order], numbers[order]


def limit_per_document(ranking: Ranking, documents: Numbers, limit: int) -> Ranking:
    """Returns the hits without those beyond the best `limit` of their document.

    Args:
        ranking: Hits, best first.
        documents: The document of each hit.
        limit: Hits kept of one document.
    """
    import numpy as np

    # A stable sort by document keeps the order of scores inside each; its place there is counted.
    order = np.argsort(documents, kind="stable")
    grouped = documents[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    sizes = np.diff(np.r_[starts, len(grouped)])
    places = np.empty(len(documents), dtype=np.int64)
    places[order] = np.arange(len(documents)) - np.repeat(starts, sizes)
    kept = places < limit
    return ranking[0][kept], ranking[1][kept]


def search_documents(
    search: Callable[[int], list[Ranking]],
    documents: Callable[[Numbers], Numbers],
    k: int,
    limit: int,
    available: int,
) -> list[Ranking]:
    """Returns k hits a query with at most `limit` of one document, where so many exist.

    A document with many good passages crowds others out, so more are asked for until k are left
    for every query. Asking for four times as many costs at most a third more than the last round.
    A query keeps the first answer that is enough: scores of a fusion change with the depth, and
    must not change with what else is asked in the same call.

    Args:
        search: Returns the best n passages of every query.
        documents: Returns the documents of passages.
        k: Hits wanted.
        limit: Hits of one document at most.
        available: Passages there are.
    """
    asked = min(k, available)
    answers: list[Ranking | None] = []
    while True:
        asked = min(4 * asked, available)
        found = search(asked)
        answers = answers or [None] * len(found)
        for place, ranking in enumerate(found):
            if answers[place] is not None:
                continue
            scores, numbers = limit_per_document(ranking, documents(ranking[1]), limit)
            if len(numbers) >= k or len(ranking[1]) < asked or asked == available:
                answers[place] = scores[:k], numbers[:k]
        done = [answer for answer in answers if answer is not None]
        if len(done) == len(answers):
            return done
