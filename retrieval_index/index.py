"""An index that is open for searching."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from retrieval_index.arguments import check_positive
from retrieval_index.encoders.checked import check_encoder, encode_queries, normalized
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.encoding import groups
from retrieval_index.errors import (
    ArgumentError,
    ClosedIndexError,
    CorruptIndexError,
    EncoderError,
    EncoderMismatchError,
    IndexNotFoundError,
)
from retrieval_index.passage import Passage
from retrieval_index.report import BuildReport
from retrieval_index.storage.document_store import ChunkRow, DocumentStore
from retrieval_index.storage.manifest import (
    DOCUMENTS,
    FORMAT_VERSION,
    VECTORS,
    Manifest,
    read_manifest,
)
from retrieval_index.storage.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.protocol import Encoder

    Vectors = npt.NDArray[np.float32]
    Hits = list[tuple[int, float]]

QUERY_BATCH = 64
OPEN_ATTEMPTS = 5


class Index:
    """A searchable index. Made by `build` and `open`; also a context manager.

    It keeps the version it opened: an overwriting build does not change its answers. Searching from
    several threads is safe as far as the encoder is.

    Args:
        path: Folder of the index.
        manifest: What it is made of.
        store: Its documents.
        vectors: Its FAISS index.
        encoder: The encoder for queries; None: found by the name in the manifest when needed.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        store: DocumentStore,
        vectors: Any,
        encoder: str | Encoder | None = None,
    ) -> None:
        self.path = path
        self._manifest = manifest
        self._store = store
        self._vectors = vectors
        self._given_encoder = encoder
        self._encoder: Encoder | None = None
        if encoder is not None and not isinstance(encoder, str):
            self._encoder = self._checked_encoder(encoder)

    @property
    def report(self) -> BuildReport:
        """What the build read and passed over, and how long it took."""
        return BuildReport.from_dict(self._manifest.report)

    def __len__(self) -> int:
        """Number of passages."""
        return self._manifest.chunks

    def __repr__(self) -> str:
        counts = f"{self._manifest.documents} documents, {len(self)} passages"
        return f"Index({str(self.path)!r}: {counts}, encoder {self._manifest.encoder['name']!r})"

    def info(self) -> dict[str, Any]:
        """Returns what there is to know about the index, as JSON-ready data.

        Keys: path, format_version, build_id, created, documents, chunks, skipped, encoder (name,
        fingerprint, dimension, normalize), chunker (units, size, overlap), faiss (factory, metric,
        version), size_bytes, files (name to path, size, sha256).
        """
        manifest = self._manifest
        return {
            "path": str(self.path),
            "format_version": FORMAT_VERSION,
            "build_id": manifest.build_id,
            "created": manifest.created,
            "documents": manifest.documents,
            "chunks": manifest.chunks,
            "skipped": dict(self.report.skipped),
            "encoder": dict(manifest.encoder),
            "chunker": dict(manifest.chunker),
            "faiss": dict(manifest.faiss),
            "size_bytes": sum(entry.size for entry in manifest.files.values()),
            "files": {
                key: {"path": entry.path, "size": entry.size, "sha256": entry.sha256}
                for key, entry in manifest.files.items()
            },
        }

    @overload
    def search(
        self, queries: str, k: int = ..., *, per_document: int | None = ...
    ) -> list[Passage]: ...

    @overload
    def search(
        self, queries: list[str], k: int = ..., *, per_document: int | None = ...
    ) -> list[list[Passage]]: ...

    def search(
        self, queries: str | list[str], k: int = 10, *, per_document: int | None = None
    ) -> list[Passage] | list[list[Passage]]:
        """Returns the passages closest to each query, best first.

        Args:
            queries: A query, or a list of them.
            k: Passages for each query; fewer come back where the index holds fewer. Default 10.
            per_document: Most passages of one document among the k, such as 1; None: no limit.

        Returns:
            A list of passages for a single query; a list of such lists for a list.

        Raises:
            ArgumentError: If a query is no text or blank, or a number is below 1.
            EncoderMismatchError: If the encoder is not the one of the index.
            EncoderError: If the encoder cannot be found, or returns unusable vectors.
            ClosedIndexError: After `close()`.
            CorruptIndexError: If a stored passage cannot be read.
        """
        texts = [queries] if isinstance(queries, str) else list(queries)
        self._check_search(k, per_document)
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise ArgumentError(
                    f"`queries` must be texts that are not blank; number {number} is {text!r:.60}."
                )
        if not texts:
            return []
        encoder = self._query_encoder()
        normalize = self._manifest.encoder["normalize"]
        hits: list[Hits] = []
        for part in groups(texts, QUERY_BATCH):
            hits += self._nearest(encode_queries(encoder, part, normalize), k, per_document)
        answers = self._passages(hits)
        return answers[0] if isinstance(queries, str) else answers

    def search_vectors(
        self, vectors: npt.ArrayLike, k: int = 10, *, per_document: int | None = None
    ) -> list[list[Passage]]:
        """Returns the passages closest to each query vector, best first.

        Args:
            vectors: Floats of shape (n, dimension), made by the encoder of the index. They are
                scaled to length 1 if the index is.
            k: As in `search`.
            per_document: As in `search`.

        Returns:
            n lists of passages.

        Raises:
            ArgumentError: If the shape is wrong, a value is not finite, or a number is below 1.
            ClosedIndexError: After `close()`.
        """
        import numpy as np

        self._check_search(k, per_document)
        dimension = self._manifest.encoder["dimension"]
        try:
            rows = np.ascontiguousarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"`vectors` must be an array of floats ({error}).") from error
        if rows.ndim != 2 or rows.shape[1] != dimension:
            raise ArgumentError(
                f"`vectors` must have the shape (n, {dimension}); received {rows.shape}."
            )
        if not np.isfinite(rows).all():
            raise ArgumentError("`vectors` must be finite; received NaN or infinity.")
        if not len(rows):
            return []
        if self._manifest.encoder["normalize"]:
            rows = normalized(rows)
        return self._passages(self._nearest(rows, k, per_document))

    def close(self) -> None:
        """Lets go of the files; may be called again."""
        self._store.close()
        self._vectors = None

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_search(self, k: int, per_document: int | None) -> None:
        check_positive("k", k)
        if per_document is not None:
            check_positive("per_document", per_document)
        if self._vectors is None:
            raise ClosedIndexError(f"The index {self.path} is closed. Open it again.")

    def _query_encoder(self) -> Encoder:
        if self._encoder is None:
            name = self._given_encoder or self._manifest.encoder["name"]
            try:
                found = resolve_encoder(name)
            except EncoderError as error:
                raise EncoderError(
                    f"The encoder {name!r} of the index {self.path} cannot be found by its name; "
                    f"`retrieval_index.open(path, encoder=...)` takes the encoder itself. {error}"
                ) from error
            self._encoder = self._checked_encoder(found)
        return self._encoder

    def _checked_encoder(self, encoder: Encoder) -> Encoder:
        checked = check_encoder(encoder)
        wanted = self._manifest.encoder
        received = (checked.dimension, checked.fingerprint)
        if received != (wanted["dimension"], wanted["fingerprint"]):
            raise EncoderMismatchError(
                f"`encoder` must be the one that built {self.path}: {wanted['name']}, dimension "
                f"{wanted['dimension']}, fingerprint {wanted['fingerprint']}; received "
                f"{checked.name}, dimension {received[0]}, fingerprint {received[1]}. "
                "Search with the former, or build the index again with the latter."
            )
        return checked

    def _nearest(self, vectors: Vectors, k: int, per_document: int | None) -> list[Hits]:
        """Returns (chunk number, score) of the k nearest for each row."""
        count = min(int(k), len(self))
        if per_document is None:
            return self._faiss_search(vectors, count)
        # A document with many good passages crowds others out, so ask for more until k are left
        # for every query. Doubling costs at most twice the last round.
        asked = count
        while True:
            asked = min(4 * asked, len(self))
            found = self._faiss_search(vectors, asked)
            rows = self._store.chunks({chunk for hits in found for chunk, _ in hits})
            kept = [_limited(hits, rows, per_document)[:k] for hits in found]
            if asked == len(self) or all(len(hits) >= count for hits in kept):
                return kept

    def _faiss_search(self, vectors: Vectors, count: int) -> list[Hits]:
        scores, numbers = self._vectors.search(vectors, count)
        # FAISS pads with -1 where an approximate index finds fewer than asked for.
        return [
            [(int(n), float(s)) for n, s in zip(row_n, row_s, strict=True) if n >= 0]
            for row_n, row_s in zip(numbers, scores, strict=True)
        ]

    def _passages(self, found: list[Hits]) -> list[list[Passage]]:
        rows = self._store.chunks({chunk for hits in found for chunk, _ in hits})
        documents = self._store.documents({row.document for row in rows.values()})

        def passage(rank: int, number: int, score: float) -> Passage:
            row = rows[number]
            document: Document = documents[row.document]
            return Passage(
                score=score,
                document_id=document.id,
                title=document.title,
                chunk_id=number,
                start=row.start,
                end=row.end,
                text=document.text[row.start : row.end],
                metadata=document.metadata,
                rank=rank,
            )

        return [[passage(rank, *hit) for rank, hit in enumerate(hits, start=1)] for hits in found]


def open_index(
    path: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    checksums: bool = True,
) -> Index:
    """Opens an index for searching.

    Args:
        path: Folder of the index.
        encoder: The encoder of the index, or its name. Default: found by the name in the manifest
            at the first search. An index of unknown origin may name any model.
        checksums: Whether both files are read through once and compared with their SHA-256. Without
            it only their sizes are, and FAISS may crash on a file that was damaged.

    Returns:
        The open index.

    Raises:
        IndexNotFoundError: If there is no index.
        CorruptIndexError: If a file of it is damaged or missing.
        NewerFormatError: If a newer version of this package wrote it.
        EncoderMismatchError: If the encoder is not the one of the index.
    """
    folder = Path(path).expanduser().resolve()
    manifest = read_manifest(folder)
    for _ in range(OPEN_ATTEMPTS):
        try:
            return _open_version(folder, manifest, encoder, checksums)
        except CorruptIndexError:
            # A build may have replaced the version between the two reads. If it did not, the
            # files are damaged indeed.
            newer = read_manifest(folder)
            if newer.build_id == manifest.build_id:
                raise
            manifest = newer
    raise IndexNotFoundError(f"`path` {folder} is being replaced too often to be opened.")


def _open_version(
    folder: Path, manifest: Manifest, encoder: str | Encoder | None, checksums: bool
) -> Index:
    vectors_file = manifest.files[VECTORS].check(folder, checksums)
    documents_file = manifest.files[DOCUMENTS].check(folder, checksums)
    vectors = read_vectors(
        vectors_file,
        manifest.faiss["factory"],
        manifest.chunks,
        manifest.encoder["dimension"],
    )
    store = DocumentStore(documents_file)
    try:
        return Index(folder, manifest, store, vectors, encoder)
    except BaseException:
        store.close()
        raise


def _limited(hits: Hits, rows: dict[int, ChunkRow], per_document: int) -> Hits:
    seen: Counter[int] = Counter()
    kept = []
    for number, score in hits:
        document = rows[number].document
        seen[document] += 1
        if seen[document] <= per_document:
            kept.append((number, score))
    return kept
