"""One version of an index: its segments, searched as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError
from retrieval_index.searching.passage import Passage, merge_segments, search_documents

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.corpus.document import Document
    from retrieval_index.filters.filter import Filter
    from retrieval_index.searching.hybrid import Hybrid
    from retrieval_index.searching.passage import Numbers, Ranking
    from retrieval_index.searching.segment import Segment
    from retrieval_index.storage.manifest import Manifest
    from retrieval_index.vectors.rows import RowMask

    Vectors = npt.NDArray[np.float32]

BLOCK_ROWS = 4096


class Version:
    """The segments of a version.

    Passages are numbered through all segments, deleted ones included, and so are documents.

    Args:
        manifest: What the version is made of.
        segments: Its open parts, in the order of the manifest.
    """

    def __init__(self, manifest: Manifest, segments: Sequence[Segment]) -> None:
        self.manifest = manifest
        self.segments = list(segments)
        # First number of each segment, and behind the last one the total.
        self.bases = [0, *accumulate(segment.entry.chunks for segment in segments)]
        self.document_bases = [0, *accumulate(segment.entry.documents for segment in segments)]

    @cached_property
    def analyzer(self) -> Any:
        """The analyzer of the lexical index."""
        from retrieval_index.lexical.analyzer import Analyzer

        if self.manifest.lexical is None:
            raise ArgumentError(
                "`mode`: this index has no lexical part. Build it with `language=`, such as "
                "`language='en'`, or search with `mode='dense'`."
            )
        return Analyzer.from_settings(self.manifest.lexical["analyzer"])

    def search(
        self,
        texts: list[str],
        vectors: Vectors | None,
        mode: str,
        k: int,
        condition: Filter | None,
        per_document: int | None,
        rule: Hybrid,
    ) -> list[Ranking]:
        """Returns the best k passages of each query.

        Args:
            texts: The queries; not used when the mode is "dense".
            vectors: Their vectors; not used when the mode is "lexical".
            mode: "dense", "lexical" or "hybrid".
            k: Hits for each query.
            condition: Filter, or None.
            per_document: Hits of one document at most, or None.
            rule: How "hybrid" fuses.
        """
        allowed = [segment.allowed(condition) for segment in self.segments]
        available = sum(
            segment.entry.chunks if mask is None else mask.count
            for segment, mask in zip(self.segments, allowed, strict=True)
        )
        k = min(k, available)
        if k == 0:
            return [self._nothing()] * len(texts)

        def once(count: int) -> list[Ranking]:
            if mode == "dense":
                assert vectors is not None
                return self._dense(vectors, count, allowed)
            if mode == "lexical":
                return self._lexical(texts, count, allowed)
            assert vectors is not None
            depth = max(count, rule.depth)
            pairs = zip(
                self._dense(vectors, min(depth, available), allowed),
                self._lexical(texts, depth, allowed),
                strict=True,
            )
            return [rule.fuse(dense, lexical, count) for dense, lexical in pairs]

        if per_document is None:
            return once(k)
        return search_documents(once, self.documents_of, k, per_document, available)

    def passages(self, rankings: list[Ranking]) -> list[list[Passage]]:
        """Returns the passages that rankings name, with text and metadata."""
        wanted: list[set[int]] = [set() for _ in self.segments]
        titles: list[set[int]] = [set() for _ in self.segments]
        places: dict[int, tuple[int, list[int]]] = {}
        for number in {number for _, numbers in rankings for number in numbers.tolist()}:
            part, row = self.place(number)
            found = self.segments[part].chunks[row].tolist()
            places[number] = part, found
            wanted[part].add(found[0])
            titles[part].add(found[3])
        stores = [segment.store for segment in self.segments]
        documents = [s.documents(w) if w else {} for s, w in zip(stores, wanted, strict=True)]
        headings = [s.headings(t) if t else {} for s, t in zip(stores, titles, strict=True)]

        def passage(rank: int, score: float, number: int) -> Passage:
            part, (document_number, start, end, heading) = places[number]
            document = documents[part][document_number]
            return Passage(
                score=score,
                document_id=document.id,
                title=document.title,
                chunk_id=number,
                start=start,
                end=end,
                text=document.text[start:end],
                heading=headings[part][heading],
                metadata=document.metadata,
                rank=rank,
            )

        return [
            [
                passage(rank, score, number)
                for rank, (score, number) in enumerate(
                    zip(scores.tolist(), numbers.tolist(), strict=True), start=1
                )
            ]
            for scores, numbers in rankings
        ]

    def place(self, number: int) -> tuple[int, int]:
        """Returns the segment of a passage and its number there."""
        part = bisect_right(self.bases, number) - 1
        return part, number - self.bases[part]

    def documents_of(self, numbers: Numbers) -> Numbers:
        """Returns the documents of passages, both numbered through all segments."""
        import numpy as np

        found = np.empty(len(numbers), dtype=np.int64)
        for part, here, rows in self._by_segment(numbers):
            found[here] = self.segments[part].document_of(rows) + self.document_bases[part]
        return found

    def vectors(self, numbers: Numbers) -> Vectors:
        """Returns the vectors of passages as they were added, (len(numbers), d); zeros for -1."""
        import numpy as np

        found = np.zeros((len(numbers), self.manifest.encoder.dimension), dtype=np.float32)
        for part, here, rows in self._by_segment(numbers):
            found[here] = self.segments[part].vectors.rows_at(rows)
        return found

    def deleted(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Returns which of these passages are deleted; -1 is not."""
        import numpy as np

        found = np.zeros(len(numbers), dtype=bool)
        for part, here, rows in self._by_segment(numbers):
            alive = self.segments[part].allowed(None)
            if alive is not None:
                found[here] = ~alive.allowed[rows]
        return found

    def _by_segment(self, numbers: Numbers) -> Iterator[tuple[int, npt.NDArray[np.bool_], Numbers]]:
        """Yields each segment that passages lie in, which they are, and their numbers there."""
        import numpy as np

        # -1 comes before the first base, and so into part -1, which is no segment.
        parts = np.searchsorted(self.bases, numbers, side="right") - 1
        for part in np.unique(parts[parts >= 0]).tolist():
            here = parts == part
            yield part, here, numbers[here] - self.bases[part]

    def find(self, ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Returns segment and number of each of these documents that is there and not deleted."""
        found = {}
        for part, segment in enumerate(self.segments):
            for identifier, number in segment.store.numbers(ids).items():
                if segment.dead is None or not segment.dead[number]:
                    found[identifier] = (part, number)
        return found

    def documents(self) -> Iterator[Document]:
        """Yields the documents that are not deleted."""
        for segment in self.segments:
            for number, document in enumerate(segment.store.stream()):
                if segment.dead is None or not segment.dead[number]:
                    yield document

    def passage_blocks(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """Yields passages that are not deleted, in order, and their vectors, in blocks.

        Their score is 0 and their rank their place in the block.
        """
        import numpy as np

        for part, segment in enumerate(self.segments):
            live = segment.allowed(None)
            alive = None if live is None else live.allowed
            for first in range(0, segment.entry.chunks, BLOCK_ROWS):
                count = min(BLOCK_ROWS, segment.entry.chunks - first)
                kept = np.arange(count) if alive is None else np.flatnonzero(alive[first:][:count])
                if len(kept):
                    numbers = kept.astype(np.int64) + first + self.bases[part]
                    scores = np.zeros(len(kept), dtype=np.float32)
                    vectors = segment.vectors.rows(first, count)[kept]
                    yield self.passages([(scores, numbers)])[0], vectors

    def close(self) -> None:
        """Lets go of the files."""
        for segment in self.segments:
            segment.close()

    def _dense(self, vectors: Vectors, k: int, allowed: list[RowMask | None]) -> list[Ranking]:
        parts = [
            segment.vectors.search(vectors, min(k, segment.entry.chunks), mask)
            for segment, mask in zip(self.segments, allowed, strict=True)
        ]
        return merge_segments(parts, self.bases[:-1], k)

    def _lexical(self, texts: list[str], k: int, allowed: list[RowMask | None]) -> list[Ranking]:
        from retrieval_index.lexical.search import search_lexical

        analyzer = self.analyzer  # says so if there is no lexical part
        masks = [None if mask is None else mask.allowed for mask in allowed]
        lexical = [segment.lexical for segment in self.segments]
        found = search_lexical(lexical, texts, analyzer, k, masks)
        return [self._numbered(*hits) for hits in found]

    def _numbered(self, scores: Any, parts: Any, numbers: Any) -> Ranking:
        import numpy as np

        bases = np.asarray(self.bases[:-1], dtype=np.int64)
        return np.asarray(scores, dtype=np.float32), numbers + bases[parts]

    @staticmethod
    def _nothing() -> Ranking:
        import numpy as np

        return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
