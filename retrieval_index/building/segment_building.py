"""From documents to the files of a segment: cut, store, encode, index, measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retrieval_index.building.encoding import Piece, ShardEncoder
from retrieval_index.building.intake import Intake
from retrieval_index.building.known import Known
from retrieval_index.building.recipe import Recipe
from retrieval_index.building.vectors_stage import VectorsStage
from retrieval_index.chunking.chunker import Chunker
from retrieval_index.corpus.document import Document, Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.encoders.checked import encode_queries
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.chunk_table import ChunkTableWriter
from retrieval_index.storage.commit import NewSegment
from retrieval_index.storage.document_writer import DocumentWriter
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS
from retrieval_index.storage.segment_files import LEXICAL_FOLDER, NAMES
from retrieval_index.storage.workspace import Workspace

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
    known: Known | None = None,
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
    from retrieval_index.building.measurement import sample_sentences

    if getattr(recipe.encoder, "encode_documents", None) is not None:
        return None
    sentences = sample_sentences(folder, count, recipe.options.seed)
    return encode_queries(recipe.encoder, sentences, recipe.normalize) if sentences else None
