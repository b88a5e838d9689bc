"""An index that is open for searching."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from retrieval_index.errors import ArgumentError, ClosedIndexError, check_positive
from retrieval_index.pipelining import groups
from retrieval_index.report import BuildReport
from retrieval_index.searching.arrays import (
    check_numbers,
    check_query_vectors,
    passages_at,
    rectangle,
)
from retrieval_index.searching.hybrid import MODES, Hybrid
from retrieval_index.searching.passage import Passage, rerank_passages
from retrieval_index.searching.query_encoder import QueryEncoder
from retrieval_index.searching.version import Version
from retrieval_index.storage.manifest import FORMAT_VERSION, Manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.filters.filter import Filter
    from retrieval_index.searching.passage import Numbers, Ranking, Scores
    from retrieval_index.searching.segment import Segment

    Vectors = npt.NDArray[np.float32]

QUERY_BATCH = 64


class Index:
    """A searchable index. Made by `build` and `open`; also a context manager.

    It keeps the version it opened: nothing that is built, added or deleted afterwards changes its
    answers. Searching from several threads is safe as far as the encoder is.

    Args:
        path: Folder of the index.
        manifest: What it is made of.
        segments: Its parts, in the order of the manifest.
        encoder: The encoder for queries; None: found by the name in the manifest when needed.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        segments: Sequence[Segment],
        encoder: str | Encoder | None = None,
    ) -> None:
        self.path = path
        self._manifest = manifest
        self._version: Version | None = Version(manifest, segments)
        self._encode = QueryEncoder(path, manifest, encoder)

    @property
    def report(self) -> BuildReport:
        """What the last build or addition read and passed over, and how long it took."""
        return BuildReport.from_dict(self._manifest.report)

    @property
    def version(self) -> int:
        """Number of the version that is open: 1 after the build, one more with every change."""
        return self._manifest.version

    def __len__(self) -> int:
        """Number of passages."""
        return self._manifest.chunks

    def __repr__(self) -> str:
        counts = f"{self._manifest.documents} documents, {len(self)} passages"
        return f"Index({str(self.path)!r}: {counts}, encoder {self._manifest.encoder.name!r})"

    def info(self) -> dict[str, Any]:
        """Returns what there is to know about the index, as JSON-ready data.

        Keys: path, format_version, build_id, version, created, changed, change, documents, chunks,
        skipped, encoder (name, fingerprint, dimension, normalize), chunker (method, units, size,
        overlap), lexical (or None), options, search, size_bytes, segments (a list: name,
        documents, chunks, deleted_documents, vectors with factory, parameters and what was
        measured, files).
        """
        manifest = self._manifest
        body = manifest.model_dump(mode="json", exclude={"next_segment", "report"})
        return {
            "path": str(self.path),
            "format_version": FORMAT_VERSION,
            "documents": manifest.documents,
            "chunks": manifest.chunks,
            "skipped": dict(self.report.skipped),
            "size_bytes": sum(entry.size for entry in manifest.all_files()),
            **body,
        }

    def documents(self) -> Iterator[Document]:
        """Yields every document that is not deleted, in the order they were added."""
        return self._open().documents()

    def document(self, document_id: str) -> Document | None:
        """Returns a document by its id, or None."""
        place = self._open().find([document_id]).get(document_id)
        return None if place is None else self._open().segments[place[0]].document(place[1])

    @overload
    def passages(self, numbers: None = ...) -> Iterator[tuple[list[Passage], Vectors]]: ...

    @overload
    def passages(self, numbers: npt.ArrayLike) -> list[Any]: ...

    def passages(
        self, numbers: npt.ArrayLike | None = None
    ) -> Iterator[tuple[list[Passage], Vectors]] | list[Any]:
        """Returns the passages with these numbers, or without numbers all of them in blocks.

        Args:
            numbers: Passage numbers (`Passage.chunk_id`, or from `nearest`), an int array of shape
                (n,) or any other, such as (n, k); -1 stands for no passage. They hold for this
                opened version only. Default None: all passages.

        Returns:
            A list of n `Passage` or, for -1, None, in the order of the numbers; lists nested as the
            array is where it has more axes. Score is 0, and rank the place in the innermost list,
            None left out. Without numbers: an iterator over all passages that are not deleted;
            each block is a list of n passages (score 0) and their vectors, float32 (n, dimension).

        Raises:
            ArgumentError: If a number is no passage of this version, or that of a deleted one.
            ClosedIndexError: After `close()`.
        """
        version = self._open()
        if numbers is None:
            return version.passage_blocks()
        return passages_at(check_numbers(numbers, version), version)

    def vectors(self, numbers: npt.ArrayLike) -> Vectors:
        """Returns the stored vectors of passages.

        They are what scores are made of: the encoder's vectors, scaled to length 1 if the index
        is. A lossy index (SQ8, PQ, RaBitQ, ...) keeps the vectors as they were added beside its
        codes, and those are returned, not reconstructions.

        Args:
            numbers: Passage numbers as in `passages`, an int array of any shape (...,).

        Returns:
            float32 of shape (..., dimension), a copy; zeros for -1.

        Raises:
            ArgumentError: If a number is no passage of this version, or that of a deleted one.
            ClosedIndexError: After `close()`.
        """
        version = self._open()
        wanted = check_numbers(numbers, version)
        dimension = self._manifest.encoder.dimension
        return version.vectors(wanted.ravel()).reshape(*wanted.shape, dimension)

    @overload
    def search(
        self,
        queries: str,
        k: int = ...,
        *,
        mode: str = ...,
        where: Mapping[str, Any] | None = ...,
        per_document: int | None = ...,
        fusion: str | None = ...,
        weights: Sequence[float] | None = ...,
        depth: int | None = ...,
        rerank: Callable[..., Any] | Any | None = ...,
    ) -> list[Passage]: ...

    @overload
    def search(
        self,
        queries: list[str],
        k: int = ...,
        *,
        mode: str = ...,
        where: Mapping[str, Any] | None = ...,
        per_document: int | None = ...,
        fusion: str | None = ...,
        weights: Sequence[float] | None = ...,
        depth: int | None = ...,
        rerank: Callable[..., Any] | Any | None = ...,
    ) -> list[list[Passage]]: ...

    def search(
        self,
        queries: str | list[str],
        k: int = 10,
        *,
        mode: str = "dense",
        where: Mapping[str, Any] | None = None,
        per_document: int | None = None,
        fusion: str | None = None,
        weights: Sequence[float] | None = None,
        depth: int | None = None,
        rerank: Callable[..., Any] | Any | None = None,
    ) -> list[Passage] | list[list[Passage]]:
        """Returns the passages closest to each query, best first.

        Args:
            queries: A query, or a list of them.
            k: Passages for each query; fewer come back where fewer can be found. Default 10.
            mode: "dense" (vectors), "lexical" (BM25; passages that share no word with the query
                are no hits), or "hybrid" (both, fused). Default "dense".
            where: Filter on metadata, such as `{"lang": "en", "year": {"$gte": 2000}}`; see
                `retrieval_index.filters`. It holds during the search: k passages come back
                whenever k pass the filter.
            per_document: Most passages of one document among the k, such as 1; None: no limit.
            fusion: Hybrid search: "rrf" or another fusion method. Default: what `tune_fusion`
                stored, or "rrf".
            weights: Hybrid search: weights of the dense and of the lexical ranking. Default: what
                `tune_fusion` stored, or (1, 1).
            depth: Passages taken of each ranking for fusion, and for `rerank`. Default 100.
            rerank: Scores passages anew: `rerank(query, texts)` returns a score for each text, or
                an object with `predict([(query, text), ...])`, such as a sentence-transformers
                `CrossEncoder`. The best `depth` passages are given to it.

        Returns:
            A list of passages for a single query; a list of such lists for a list.

        Raises:
            ArgumentError: If a query is no text or blank, a number is below 1, a name is unknown,
                the filter is malformed, or the index has no lexical part and the mode needs it.
            EncoderMismatchError: If the encoder is not the one of the index.
            EncoderError: If the encoder cannot be found, or returns unusable vectors.
            ClosedIndexError: After `close()`.
            CorruptIndexError: If a stored passage cannot be read.
        """
        texts = [queries] if isinstance(queries, str) else list(queries)
        version = self._checked(k, per_document)
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ArgumentError(
                    f"`queries` must be texts that are not blank; number {number} is {text!r:.60}."
                )
        if mode not in MODES:
            raise ArgumentError(f"`mode` must be one of {', '.join(MODES)}; received: {mode!r}.")
        rule = Hybrid.of(self._manifest.search, fusion, weights, depth)
        if not texts:
            return []
        condition = _condition(where)
        wanted = max(k, rule.depth) if rerank is not None else k
        hits: list[Ranking] = []
        for part in groups(texts, QUERY_BATCH):
            vectors = self._encode(part) if mode != "lexical" else None
            hits += version.search(part, vectors, mode, wanted, condition, per_document, rule)
        answers = version.passages(hits)
        if rerank is not None:
            answers = [
                rerank_passages(rerank, text, found, k)
                for text, found in zip(texts, answers, strict=True)
            ]
        return answers[0] if isinstance(queries, str) else answers

    def search_vectors(
        self,
        vectors: npt.ArrayLike,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        per_document: int | None = None,
    ) -> list[list[Passage]]:
        """Returns the passages closest to each query vector, best first.

        Args:
            vectors: Floats of shape (n, dimension), made by the encoder of the index. They are
                scaled to length 1 if the index is.
            k: As in `search`.
            where: As in `search`.
            per_document: As in `search`.

        Returns:
            n lists of passages.

        Raises:
            ArgumentError: If the shape is wrong, a value is not finite, or a number is below 1.
            ClosedIndexError: After `close()`.
        """
        version = self._checked(k, per_document)
        rows = check_query_vectors(vectors, self._manifest.encoder)
        return version.passages(_dense(version, rows, k, where, per_document))

    def nearest(
        self,
        vectors: npt.ArrayLike,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        per_document: int | None = None,
    ) -> tuple[Numbers, Scores]:
        """Returns the numbers and scores of the passages closest to each query vector, as arrays.

        As `search_vectors` without reading a text. `passages` and `vectors` take the numbers.

        Args:
            vectors: Floats of shape (n, dimension), or (dimension,) for one query, made by the
                encoder of the index. They are scaled to length 1 if the index is.
            k: Places for each query. Default 10.
            where: As in `search`.
            per_document: As in `search`.

        Returns:
            Passage numbers, int64 of shape (n, k), and scores, float32 of shape (n, k), best first;
            n = 1 for one query of shape (dimension,). Places without a passage, where fewer than k
            can be found, hold -1 and -inf. The numbers count through all segments, deleted
            passages included, and stay as they are as long as this index is open; they hold for
            this opened version only.

        Raises:
            ArgumentError: If the shape is wrong, a value is not finite, or a number is below 1.
            ClosedIndexError: After `close()`.
        """
        version = self._checked(k, per_document)
        rows = check_query_vectors(vectors, self._manifest.encoder, single=True)
        return rectangle(_dense(version, rows, k, where, per_document), k)

    def close(self) -> None:
        """Lets go of the files; may be called again."""
        if self._version is not None:
            self._version.close()
        self._version = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> Version:
        if self._version is None:
            raise ClosedIndexError(f"The index {self.path} is closed. Open it again.")
        return self._version

    def _checked(self, k: int, per_document: int | None) -> Version:
        check_positive("k", k)
        if per_document is not None:
            check_positive("per_document", per_document)
        return self._open()


def _dense(
    version: Version,
    rows: Vectors,
    k: int,
    where: Mapping[str, Any] | None,
    per_document: int | None,
) -> list[Ranking]:
    if not len(rows):
        return []
    texts = [""] * len(rows)
    return version.search(texts, rows, "dense", k, _condition(where), per_document, Hybrid())


def _condition(where: Mapping[str, Any] | None) -> Filter | None:
    if where is None:
        return None
    from retrieval_index.filters import parse_filter

    return parse_filter(where)
