"""Building an index: read, chunk, encode, store, commit."""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from retrieval_index.arguments import check_positive
from retrieval_index.chunking.chunker import Chunk, Chunker, check_sizes
from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.opening import Corpus, open_corpus
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.encoding import ShardEncoder
from retrieval_index.errors import CorpusError, RetrievalIndexWarning
from retrieval_index.index import Index, open_index
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.storage.document_writer import DocumentWriter
from retrieval_index.storage.manifest import DOCUMENTS, VECTORS, Manifest
from retrieval_index.storage.vectors import METRIC, choose_index, faiss_version, write_vectors
from retrieval_index.storage.workspace import Workspace, check_target

if TYPE_CHECKING:
    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.protocol import Encoder

PLAN_VERSION = 1


def build(
    corpus: str | os.PathLike[str] | Iterable[Document | Mapping[str, Any] | tuple[str, str] | str],
    out: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    chunk_size: int | None = None,
    overlap: int | None = None,
    batch_size: int = 64,
    strict: bool = False,
    overwrite: bool = False,
    normalize: bool = True,
    progress: bool = True,
    shard_size: int = 4096,
) -> Index:
    """Builds an index of a corpus and opens it.

    The corpus is read once, in order, and never held in memory as a whole. The index appears at
    `out` complete or not at all. A build that was broken off (killed, disk full, an exception in
    the encoder) continues at the last complete shard when it is started again with the same
    encoder, chunking and `shard_size`; what it has so far lies in `.<out>.building` beside `out`.

    Args:
        corpus: A JSONL file (BEIR layout or `id`, `text`; may be gzip), a folder of .txt and .md
            files, or an iterable of `Document`s, mappings, `(id, text)` pairs or texts.
        out: Folder of the new index.
        encoder: An encoder or its name (see `resolve_encoder`). Default "kzoo:minilm-encoder".
        chunk_size: Most words in a passage, its title included; tokens of the encoder where it
            tells them (`token_offsets`). Default: 160 words or 248 tokens, less for an encoder
            that reads less.
        overlap: Words or tokens that a passage repeats of the one before it, at most. Default: an
            eighth of `chunk_size`.
        batch_size: Texts in one call of the encoder. Default 64.
        strict: Whether an unusable entry (no JSON, no text, no UTF-8, a repeated id, ...) ends the
            build. Otherwise it is counted, reported, and warned about once; of entries with the
            same id, the first is kept.
        overwrite: Whether an index at `out` is replaced, at the very end.
        normalize: Whether vectors are scaled to length 1, so that scores are cosines. Default True.
        progress: Whether to show a progress line when standard error is a terminal.
        shard_size: Passages in a shard, which is what a killed build loses at most. Default 4096.

    Returns:
        The opened index; `index.report` tells what was read and passed over.

    Raises:
        ArgumentError: If a number is out of range.
        IndexExistsError: If something is at `out`.
        CorpusError: If the corpus is missing, unreadable or without a usable document, or if it
            has an unusable entry and `strict`.
        EncoderError: If the encoder cannot be found or returns unusable vectors.
        BuildLockedError: If another process is building at `out`.
    """
    began = time.perf_counter()
    check_positive("batch_size", batch_size)
    check_positive("shard_size", shard_size)
    check_sizes(chunk_size, overlap)
    target = check_target(out, overwrite)
    source = open_corpus(corpus)
    model = resolve_encoder(encoder)
    chunker = Chunker.for_encoder(model, chunk_size, overlap)
    log = ProblemLog(strict)
    entries = _at_least_one(source, log)
    identity = {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "dimension": model.dimension,
        "normalize": bool(normalize),
    }
    plan = {
        "version": PLAN_VERSION,
        "encoder": {key: value for key, value in identity.items() if key != "name"},
        "chunker": chunker.settings(),
        "shard_size": int(shard_size),
    }
    with Workspace.opened(target, plan) as workspace, BuildProgress(progress) as shown:
        stage = ShardEncoder(
            model,
            workspace.shards,
            shard_size=shard_size,
            batch_size=batch_size,
            normalize=bool(normalize),
            progress=shown,
        )
        with closing(DocumentWriter(workspace.file(DOCUMENTS))) as store:
            stage.run(_stored_chunks(entries, chunker, store, log, shown))
            store.finish()
        shown.stage("writing")
        factory = choose_index(store.chunks, model.dimension)
        arrays = workspace.shards.arrays(stage.count)
        write_vectors(arrays, model.dimension, factory, workspace.file(VECTORS))
        report = BuildReport(
            corpus=source.description,
            documents=store.documents,
            chunks=store.chunks,
            encoded_chunks=stage.encoded_chunks,
            reused_chunks=stage.reused_chunks,
            skipped=dict(log.skipped),
            ignored_files=dict(log.ignored_files),
            problems=tuple(log.examples),
            seconds=round(time.perf_counter() - began, 3),
            encode_seconds=round(stage.seconds, 3),
        )
        workspace.commit(
            Manifest(
                build_id=uuid.uuid4().hex,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                encoder=identity,
                chunker=chunker.settings(),
                faiss={"factory": factory, "metric": METRIC, "version": faiss_version()},
                documents=store.documents,
                chunks=store.chunks,
                report=report.to_dict(),
                files={},
            )
        )
    if report.skipped:
        warnings.warn(f"`corpus`: {log.summary()}", RetrievalIndexWarning, stacklevel=2)
    # The checksums were computed from these files a moment ago.
    return open_index(target, model, checksums=False)


def _at_least_one(source: Corpus, log: ProblemLog) -> Iterator[Entry]:
    """Returns the entries, of which there is at least one: nothing is written otherwise."""
    entries = iter(source.read(log))
    first = next(entries, None)
    if first is None:
        found = f" {log.summary()}" if log.skipped else ""
        if log.ignored_files:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in log.ignored_files.items())
            found += f" Files of other kinds: {kinds}."
        raise CorpusError(
            f"`corpus` must hold at least one document; {source.description} has none.{found}"
        )
    return chain([first], entries)


def _stored_chunks(
    entries: Iterable[Entry],
    chunker: Chunker,
    store: DocumentWriter,
    log: ProblemLog,
    progress: BuildProgress,
) -> Iterator[Chunk]:
    """Yields the chunks of all documents, each stored under the number its vector will have."""
    for document, where in entries:
        if not store.add_document(document):
            log.add("duplicate_id", where, f"the id {document.id!r} was used before")
            continue
        progress.document()
        for chunk in chunker.split(document):
            store.add_chunk(chunk)
            yield chunk
