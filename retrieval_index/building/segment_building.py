"""From documents to the files of a segment: cut, store, encode, index, measure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval_index.building.intake import IndexedDocuments, Intake
from retrieval_index.building.recipe import Recipe
from retrieval_index.building.vectors_stage import VectorsStage
from retrieval_index.chunking.chunker import Chunker
from retrieval_index.corpus.document import Document, Entry, ProblemLog
from retrieval_index.encoders.protocol import check_vectors, encode_passages, encode_queries
from retrieval_index.pipelining import groups, read_ahead
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.commit import NewSegment
from retrieval_index.storage.document_store import DocumentWriter
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS
from retrieval_index.storage.segment_files import LEXICAL_FOLDER, NAMES, ChunkTableWriter
from retrieval_index.storage.workspace import Shards, Workspace, digest_texts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder


class Piece(NamedTuple):
    """What the encoder is given of a passage: its text, its document's id, its units."""

    text: str
    document_id: str
    units: int


class ShardEncoder:
    """Encodes passages shard by shard, passing over shards that an earlier run left complete.

    Args:
        encoder: A checked encoder.
        shards: Where the vectors go.
        shard_size: Passages in a shard; what is lost at most when the process is killed.
        batch_size: Texts in one call of the encoder.
        normalize: Whether vectors are scaled to length 1.
        progress: Told about finished passages.
    """

    def __init__(
        self,
        encoder: Encoder,
        shards: Shards,
        *,
        shard_size: int,
        batch_size: int,
        normalize: bool,
        progress: BuildProgress,
    ) -> None:
        self._encoder = encoder
        self._shards = shards
        self._shard_size = shard_size
        self._batch_size = batch_size
        self._normalize = normalize
        self._progress = progress
        # Vectors that exist already are looked up by the document, not by the text.
        self._by_document: Any = getattr(encoder, "encode_documents", None)
        self.count = 0
        self.encoded_chunks = 0
        self.reused_chunks = 0
        self.seconds = 0.0

    def run(self, pieces: Iterable[Piece]) -> None:
        """Consumes the passages; afterwards `count` shards hold their vectors, in order.

        Raises:
            EncoderError: If the encoder returns unusable vectors. Whatever the encoder raises
                itself passes through; finished shards stay.
        """
        with read_ahead(groups(pieces, self._shard_size)) as parts:
            for number, part in enumerate(parts):
                digest = digest_texts(self._key(piece) for piece in part)
                units = sum(piece.units for piece in part)
                if self._shards.holds(number, digest):
                    self.reused_chunks += len(part)
                    self._progress.passages(len(part), units)
                else:
                    self._shards.write(number, self._encode(part), digest)
                    self.encoded_chunks += len(part)
                self.count = number + 1

    def _key(self, piece: Piece) -> str:
        """What decides the vector of a passage."""
        return f"{piece.document_id}\n{piece.text}" if self._by_document else piece.text

    def _encode(self, pieces: list[Piece]) -> npt.NDArray[np.float32]:
        import numpy as np

        # Batches of like length carry little padding. The longest come first, so that a batch too
        # large for the memory fails at the start and not after an hour.
        order = sorted(range(len(pieces)), key=lambda i: (-len(pieces[i].text), i))
        vectors = np.empty((len(pieces), self._encoder.dimension), dtype=np.float32)
        for rows in groups(order, self._batch_size):
            begin = time.perf_counter()
            vectors[rows] = self._batch([pieces[row] for row in rows])
            self.seconds += time.perf_counter() - begin
            self._progress.passages(len(rows), sum(pieces[row].units for row in rows))
        return vectors

    def _batch(self, pieces: list[Piece]) -> npt.NDArray[np.float32]:
        texts = [piece.text for piece in pieces]
        if self._by_document is None:
            return encode_passages(self._encoder, texts, self._normalize)
        ids = [piece.document_id for piece in pieces]
        found = self._by_document(ids, texts)
        return check_vectors(found, self._encoder.dimension, ids, self._normalize)


SEGMENT_FOLDER = "segment"


@dataclass(frozen=True, slots=True)
class BuiltSegment:
    """A finished segment that still lies in the workspace.

    Attributes:
        segment: Its entry and its files.
        stage: Counts and seconds of the encoding.
        repeated_texts: Documents whose text was there before under another id.
    """

    segment: NewSegment
    stage: ShardEncoder
    repeated_texts: int


def build_segment(
    entries: Iterable[Entry],
    name: str,
    recipe: Recipe,
    workspace: Workspace,
    log: ProblemLog,
    progress: BuildProgress,
    known: IndexedDocuments | None = None,
) -> BuiltSegment | None:
    """Makes a segment of all documents that can be used.

    Args:
        entries: The documents, read once, in order.
        name: The segment's name.
        recipe: How they are treated.
        workspace: Where the files are made and where shards of an earlier run may lie.
        log: Receives what cannot be used.
        progress: Told what happens.
        known: What is in the index already.

    Returns:
        The segment, or None when no document was left.
    """
    folder = workspace.empty_folder(SEGMENT_FOLDER)
    stage = ShardEncoder(
        recipe.encoder,
        workspace.shards,
        shard_size=recipe.shard_size,
        batch_size=recipe.batch_size,
        normalize=recipe.normalize,
        progress=progress,
    )
    with ExitStack() as files:
        store = files.enter_context(closing(DocumentWriter(folder / NAMES[DOCUMENTS])))
        table = files.enter_context(closing(ChunkTableWriter(folder / NAMES[CHUNKS])))
        lexical = lexical_writer(folder, recipe.lexical)
        intake = Intake(recipe.duplicates == "skip", store, log, progress, known)
        documents = intake.accepted(entries)
        stage.run(_stored_pieces(documents, recipe.chunker, store, table, lexical, progress))
        store.finish()
        table.finish()
    if not store.documents:
        return None
    if lexical is not None:
        progress.stage("lexical index")
        lexical.finish()
    vectors = VectorsStage(
        recipe.options, recipe.encoder.dimension, table.count, folder, strict=known is None
    )
    entry = vectors.build(partial(workspace.shards.arrays, stage.count), progress.stage)
    progress.stage("measuring")
    entry = vectors.measure(entry, partial(_queries, folder, recipe), progress.stage)
    progress.stage("writing")
    finished = NewSegment.of(
        folder, name, documents=store.documents, chunks=table.count, vectors=entry
    )
    return BuiltSegment(finished, stage, intake.repeated_texts)


def _stored_pieces(
    documents: Iterable[Document],
    chunker: Chunker,
    store: DocumentWriter,
    table: ChunkTableWriter,
    lexical: Any,
    progress: BuildProgress,
) -> Iterator[Piece]:
    """Yields the passages of all documents, each stored under the number its vector will have."""
    for number, (document, chunks) in enumerate(chunker.split_many(documents)):
        progress.cut(len(chunks))
        for chunk in chunks:
            table.add(number, chunk.start, chunk.end, store.heading(chunk.heading))
            yield Piece(chunk.encoded, document.id, chunk.tokens)
        if lexical is not None:
            lexical.add([chunk.encoded for chunk in chunks])


def lexical_writer(folder: Path, settings: dict[str, Any] | None) -> Any:
    """Returns the writer of a segment's BM25 index, or None where there is to be none."""
    if settings is None:
        return None
    from retrieval_index.lexical.analyzer import Analyzer
    from retrieval_index.lexical.writer import LexicalWriter

    analyzer = Analyzer.from_settings(settings["analyzer"])
    return LexicalWriter(folder / LEXICAL_FOLDER, analyzer, k1=settings["k1"], b=settings["b"])


def _queries(folder: Path, recipe: Recipe, count: int) -> Any:
    """Returns vectors of up to `count` sentences of the segment, or None without a text encoder.

    Sentences are not in the index themselves, as queries are not, and are about what it is about.
    """
    from retrieval_index.building.vectors_stage import sample_sentences

    if getattr(recipe.encoder, "encode_documents", None) is not None:
        return None
    sentences = sample_sentences(folder, count, recipe.options.seed)
    return encode_queries(recipe.encoder, sentences, recipe.normalize) if sentences else None
