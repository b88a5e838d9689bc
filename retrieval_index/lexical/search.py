"""BM25 search over many segments as if they were one, and the lexical part of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval_index.errors import (
    ArgumentError,
    CorruptIndexError,
    NewerFormatError,
    check_positive,
)
from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.block import Block, lucene_idf, read_json
from retrieval_index.lexical.writer import FORMAT, SETTINGS, block_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LexicalHits(NamedTuple):
    """The hits of one query, best first; equal scores by (segment, number).

    Args:
        scores: BM25 scores, float32 of shape (hits,), all above 0.
        segments: Place of the segment in the list that was searched, int64 of shape (hits,).
        numbers: Number of the passage within its segment, int64 of shape (hits,).
    """

    scores: npt.NDArray[np.float32]
    segments: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]


def search_lexical(
    segments: Sequence[LexicalSegment],
    queries: Sequence[str],
    analyzer: Analyzer,
    k: int,
    allowed: Sequence[npt.NDArray[np.bool_] | None] | None = None,
) -> list[LexicalHits]:
    """Finds the passages that BM25 scores highest for each query.

    Document frequencies, the number of passages and their average length are those of all segments
    together, deleted passages included as in Lucene until they are compacted away; so a collection
    scores the same whether it was written at once or in many parts, up to the rounding of float32
    (about 1e-6), and equal passages score equal. A word that a query holds twice counts twice.
    Passages that share no term with the query are no hits, so there can be fewer than `k`.

    Args:
        segments: Segments with the same analyzer, k1 and b.
        queries: Texts.
        analyzer: The analyzer of the segments.
        k: Hits wanted for each query.
        allowed: For each segment which passages may be hits, bool of shape (passages,), or None
            for all; None alone allows all of all. Default None.

    Returns:
        For each query its hits.

    Raises:
        ArgumentError: If an argument does not fit the others.
        CorruptIndexError: If a damaged place of a file is met.
    """
    import numpy as np

    k = check_positive("k", k)
    if isinstance(queries, str):
        raise ArgumentError("`queries` must be a list of strings; received: one string.")
    masks = _checked_masks(segments, allowed)
    _check_alike(segments, analyzer)
    passages = sum(segment.passages for segment in segments)
    # The scores on disk are right as they are if one block is the whole collection.
    alone = sum(len(segment.blocks) for segment in segments) == 1
    average = None if alone else sum(segment.tokens for segment in segments) / max(passages, 1)
    counted = [Counter(analyzer.tokens(query)) for query in queries]
    terms = list(dict.fromkeys(term for counts in counted for term in counts))
    frequencies = np.zeros(len(terms), dtype=np.int64)
    for segment in segments:
        frequencies += segment.frequencies(terms)
    idfs = {
        term: lucene_idf(frequency, passages)
        for term, frequency in zip(terms, frequencies.tolist(), strict=True)
        if frequency
    }
    results = []
    for counts in counted:
        weights = {term: (times, idfs[term]) for term, times in counts.items() if term in idfs}
        results.append(_search_one(segments, masks, weights, average, k))
    return results


def _search_one(
    segments: Sequence[LexicalSegment],
    masks: Sequence[npt.NDArray[np.bool_] | None],
    terms: dict[str, tuple[int, float]],
    average: float | None,
    k: int,
) -> LexicalHits:
    import numpy as np

    scores = np.empty(0, np.float32)
    places = np.empty(0, np.int64)
    numbers = np.empty(0, np.int64)
    for place, (segment, mask) in enumerate(zip(segments, masks, strict=True)):
        start = 0
        for block in segment.blocks:
            part = mask if mask is None else mask[start : start + block.passages]
            # Among equal scores the earlier passage wins, so a later one must be above the k-th.
            floor = float(scores[-1]) if len(scores) == k else 0.0
            best = _best_of_block(block, part, terms, average, floor, k)
            if best is not None:
                scores = np.concatenate([scores, best[0]])
                order = np.argsort(-scores, kind="stable")[:k]  # stable: by (segment, number) too
                scores = scores[order]
                places = np.append(places, np.full(len(best[0]), place))[order]
                numbers = np.append(numbers, best[1] + start)[order]
            start += block.passages
    return LexicalHits(scores, places, numbers)


def _best_of_block(
    block: Block,
    mask: npt.NDArray[np.bool_] | None,
    terms: dict[str, tuple[int, float]],
    average: float | None,
    floor: float,
    k: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None:
    """Returns scores above `floor` and ascending numbers of at most k, the lowest among equals."""
    import numpy as np

    present = [term for term in terms if block.frequency(term)]
    if not present:
        return None
    totals = np.zeros(block.passages, dtype=np.float32)
    for term in present:
        times, idf = terms[term]
        if average is None:
            numbers, scores = block.column(term)
        else:
            numbers, scores = block.rescored_column(term, idf, average)
        totals[numbers] += scores if times == 1 else scores * np.float32(times)
    if mask is not None:
        totals[~mask] = 0
    found = np.flatnonzero(totals > floor)
    if not len(found):
        return None
    if len(found) > k:
        values = totals[found]
        # Not argpartition alone: it would keep any of the passages that share the k-th score.
        limit = np.partition(values, len(values) - k)[len(values) - k]
        above = found[values > limit]
        level = found[values == limit][: k - len(above)]
        found = np.sort(np.concatenate([above, level]))
    return totals[found], found


def _checked_masks(
    segments: Sequence[LexicalSegment], allowed: Sequence[npt.NDArray[np.bool_] | None] | None
) -> Sequence[npt.NDArray[np.bool_] | None]:
    import numpy as np

    if allowed is None:
        return [None] * len(segments)
    if len(allowed) != len(segments):
        raise ArgumentError(
            f"`allowed` must hold one mask or None for each of {len(segments)} segments; "
            f"received: {len(allowed)}."
        )
    for segment, mask in zip(segments, allowed, strict=True):
        if mask is not None and (
            not isinstance(mask, np.ndarray)
            or mask.dtype != np.bool_
            or mask.shape != (segment.passages,)
        ):
            raise ArgumentError(
                f"`allowed` must be bool arrays of shape ({segment.passages},); received: {mask!r}."
            )
    return allowed


def _check_alike(segments: Sequence[LexicalSegment], analyzer: Analyzer) -> None:
    for segment in segments:
        if segment.analyzer != analyzer:
            raise ArgumentError(
                f"`analyzer` is {analyzer!r}, but {segment.folder} was written with "
                f"{segment.analyzer!r}."
            )
        if (segment.k1, segment.b) != (segments[0].k1, segments[0].b):
            raise ArgumentError(
                f"`segments` must share k1 and b; received: {(segments[0].k1, segments[0].b)} and "
                f"{(segment.k1, segment.b)} in {segment.folder}."
            )


class LexicalSegment:
    """What a `LexicalWriter` wrote; its arrays are mapped into memory, not read.

    Args:
        folder: The folder of the writer.
        count: Passages that the segment must hold.

    Attributes:
        analyzer: A new analyzer like the writer's.
        k1, b: The parameters of BM25 that the scores were made with.
        blocks: One `Block` for each part, in the order of the passages.
        passages: `count`.
        tokens: Terms in all passages, repetitions included.

    Raises:
        CorruptIndexError: If a file is missing, damaged or foreign, or the count another.
        NewerFormatError: If a newer version of this package wrote the folder.
    """

    def __init__(self, folder: Path | str, count: int) -> None:
        self.folder = Path(folder)
        settings = _read_settings(self.folder / SETTINGS)
        self.analyzer: Analyzer = settings["analyzer"]
        self.k1: float = settings["k1"]
        self.b: float = settings["b"]
        self.passages = sum(settings["blocks"])
        if self.passages != count:
            raise CorruptIndexError(
                f"{self.folder / SETTINGS} counts {self.passages} passages where {count} belong."
            )
        self.blocks = [
            Block(self.folder / block_name(number), passages, self.k1, self.b)
            for number, passages in enumerate(settings["blocks"])
        ]
        self.tokens = sum(block.tokens for block in self.blocks)

    def frequencies(self, terms: Iterable[str]) -> npt.NDArray[np.int64]:
        """Returns how many passages hold each term, int64 of shape (terms,)."""
        import numpy as np

        counts = [sum(block.frequency(term) for block in self.blocks) for term in terms]
        return np.array(counts, dtype=np.int64)

    def verify(self) -> None:
        """Reads all postings to their end and checks them.

        Raises:
            CorruptIndexError: If one is damaged.
        """
        for block in self.blocks:
            block.verify()


def _read_settings(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise CorruptIndexError(f"{path} is damaged or foreign: it has no format number.")
    if data["format"] > FORMAT:
        raise NewerFormatError(
            f"{path} has format {data['format']}, and this version reads up to {FORMAT}. "
            "Run: pip install --upgrade kzoo"
        )
    blocks = data.get("blocks")
    if not isinstance(blocks, list) or not all(type(n) is int and 0 < n < 2**31 for n in blocks):
        raise CorruptIndexError(f"{path} is damaged: `blocks` must list counts of passages.")
    for name, most in (("k1", float("inf")), ("b", 1.0)):
        value = data.get(name)
        if not isinstance(value, float) or not 0 <= value <= most or value == float("inf"):
            raise CorruptIndexError(f"{path} is damaged: `{name}` is {value!r}.")
    try:
        return {**data, "analyzer": Analyzer.from_settings(data.get("analyzer"))}
    except ArgumentError as error:
        raise CorruptIndexError(f"{path} is damaged: {error}") from error
