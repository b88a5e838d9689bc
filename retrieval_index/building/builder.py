"""Building an index: read, cut, encode, store, index, measure, commit."""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from retrieval_index.building.recipe import Recipe, make_recipe, shard_plan
from retrieval_index.building.segment_building import BuiltSegment, build_segment
from retrieval_index.corpus.byte_source import ReadMeter
from retrieval_index.corpus.document import ProblemLog
from retrieval_index.corpus.opening import Corpus, open_corpus
from retrieval_index.errors import CorpusError, RetrievalIndexWarning
from retrieval_index.maintenance.changing import next_version, now
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.searching.index import Index
from retrieval_index.searching.opening import open_index
from retrieval_index.storage.commit import commit
from retrieval_index.storage.manifest import (
    MANIFEST_NAME,
    ChunkerEntry,
    EncoderEntry,
    Manifest,
    read_manifest,
)
from retrieval_index.storage.segment_files import segment_name
from retrieval_index.storage.workspace import Workspace, check_target

if TYPE_CHECKING:
    from retrieval_index.corpus.document import Document
    from retrieval_index.encoders.protocol import Encoder


def build(
    corpus: str | os.PathLike[str] | Iterable[Document | Mapping[str, Any] | tuple[str, str] | str],
    out: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    chunking: str | None = None,
    chunk_size: int | None = None,
    overlap: int | None = None,
    language: str | None = "en",
    k1: float = 0.9,
    b: float = 0.4,
    index: str | None = None,
    memory: int | str | None = None,
    latency: float | None = None,
    recall: float = 0.95,
    deletes: bool = False,
    duplicates: str = "keep",
    require_ids: bool = False,
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
    batch_size: int = 64,
    strict: bool = False,
    overwrite: bool = False,
    normalize: bool = True,
    reproducible: bool = True,
    seed: int = 0,
    progress: bool = True,
    shard_size: int = 4096,
) -> Index:
    """Builds an index of a corpus and opens it.

    The corpus is read once, in order, and never held in memory as a whole. The index appears at
    `out` complete or not at all. A build that was broken off (killed, disk full, an exception in
    the encoder) continues at the last complete shard when it is started again with the same
    encoder, chunking and `shard_size`; what it has so far lies in `.<out>.building` beside `out`.

    Args:
        corpus: A file or folder (see `retrieval_index.corpus`: text, Markdown, HTML, PDF, JSONL,
            CSV, TSV, Parquet, TREC, each may be compressed), a list of them, or an iterable of
            `Document`s, mappings, `(id, text)` pairs or texts.
        out: Folder of the new index.
        encoder: An encoder or its name (see `resolve_encoder`). Default "kzoo:minilm-encoder".
        fields: Which fields of a record are its id, title, text and metadata, such as
            `{"id": "doi", "text": ["abstract", "body"], "metadata": ["year"]}`. Default: `_id` or
            `id`, `title`, `text`, and all others as metadata.
        chunking: How documents are cut: "tokens", "sentences", "paragraphs", "headings"
            (Markdown), "characters" or "none". Default: "tokens", and "none" with vectors that
            were computed before.
        chunk_size: Most units in a passage, its title included: tokens of the encoder where it
            tells them (`token_offsets`), else words. Default: 248 tokens or 160 words, less for an
            encoder that reads less.
        overlap: Units that a passage repeats of the one before it, at most. Default: an eighth of
            `chunk_size`.
        language: Language of the lexical (BM25) index, for stopwords and stemming; "none" for
            words as they are, None for no lexical index. Default "en".
        k1: BM25's saturation of the term frequency, from 0 on. Default 0.9.
        b: BM25's normalisation by length, 0 to 1. Default 0.4; both are Anserini's. bm25s' own
            (1.5, 0.75) were better on SciFact, Cranfield and StackFAQ.
        index: FAISS factory string. Default: chosen by the number of passages and the budgets.
        memory: Most bytes the FAISS index may take, such as "2GB".
        latency: Most milliseconds for one query on one core.
        recall: Recall@10 against exact search that the search parameters are tuned to.
        deletes: Whether many documents will be deleted or replaced later.
        duplicates: What happens to a document whose title and text came before under another id:
            "keep" (and count it) or "skip". Of entries with the same id the first is kept.
        require_ids: Whether an entry without an id is unusable. Default: it gets one that is
            derived from its title and text.
        encoding: Encoding of text files without a byte order mark or `<meta charset>`.
        encoding_errors: What becomes of bytes that do not fit: "strict" (the entry is unusable),
            "replace", "ignore" or "backslashreplace".
        batch_size: Texts in one call of the encoder. Default 64.
        strict: Whether an unusable entry (no JSON, no text, no UTF-8, a repeated id, ...) ends the
            build. Otherwise it is counted, reported, and warned about once.
        overwrite: Whether an index at `out` is replaced, at the very end.
        normalize: Whether vectors are scaled to length 1, so that scores are cosines. Default True.
        reproducible: Whether the same input and seed give the same search results, to the bit; a
            graph (HNSW) is then grown by one thread. Default True.
        seed: For the FAISS training sample, centroids, and the queries of the measurement.
        progress: Whether to show a progress line when standard error is a terminal.
        shard_size: Passages in a shard, which is what a killed build loses at most. Default 4096.

    Returns:
        The opened index; `index.report` tells what was read and passed over.

    Raises:
        ArgumentError: If an argument is out of range or unknown.
        IndexExistsError: If something is at `out`.
        CorpusError: If the corpus is missing, unreadable or without a usable document, or if it
            has an unusable entry and `strict`.
        EncoderError: If the encoder cannot be found or returns unusable vectors.
        BuildLockedError: If another process is building at `out`.
    """
    began = time.perf_counter()
    target = check_target(out, overwrite)
    source = open_corpus(corpus, fields, encoding, encoding_errors, require_ids)
    recipe = make_recipe(
        encoder,
        chunking=chunking,
        chunk_size=chunk_size,
        overlap=overlap,
        language=language,
        k1=k1,
        b=b,
        index=index,
        memory=memory,
        latency=latency,
        recall=recall,
        deletes=deletes,
        duplicates=duplicates,
        batch_size=batch_size,
        normalize=normalize,
        reproducible=reproducible,
        seed=seed,
        shard_size=shard_size,
    )
    log = ProblemLog(strict)
    meter = ReadMeter(source.size() if progress else None)
    with (
        Workspace.opened(target, shard_plan(recipe)) as workspace,
        meter.active(),
        BuildProgress(progress, fraction=meter.fraction) as shown,
    ):
        old = read_manifest(target) if (target / MANIFEST_NAME).exists() else None
        number = old.next_segment if old else 1
        built = build_segment(source.read(log), segment_name(number), recipe, workspace, log, shown)
        if built is None:
            raise CorpusError(_nothing_found(source, log))
        report = make_report(source, built, log, began)
        manifest = first_manifest(recipe, built, report, number)
        if old is not None:
            manifest = next_version(
                manifest.model_copy(update={"version": old.version}), manifest.change
            )
        commit(workspace, manifest, [built.segment])
    warn_of_problems(log)
    # The checksums were computed from these files a moment ago.
    return open_index(target, recipe.encoder, checksums=False)


def first_manifest(
    recipe: Recipe, built: BuiltSegment, report: BuildReport, number: int
) -> Manifest:
    """Returns the manifest of an index of one new segment."""
    time_now = now()
    return Manifest(
        build_id=uuid.uuid4().hex,
        version=1,
        created=time_now,
        changed=time_now,
        change="build",
        encoder=EncoderEntry(
            name=recipe.encoder.name,
            fingerprint=recipe.encoder.fingerprint,
            dimension=recipe.encoder.dimension,
            normalize=recipe.normalize,
        ),
        chunker=ChunkerEntry(**recipe.chunker.settings()),
        lexical=recipe.lexical,
        segments=[built.segment.entry],
        next_segment=number + 1,
        options=recipe.options.to_dict(),
        search={},
        report=report.to_dict(),
    )


def make_report(
    source: Corpus, built: BuiltSegment | None, log: ProblemLog, began: float, **counts: int
) -> BuildReport:
    """Returns the account of a build or an addition."""
    entry = built.segment.entry if built else None
    stage = built.stage if built else None
    return BuildReport(
        corpus=source.description,
        documents=entry.documents if entry else 0,
        chunks=entry.chunks if entry else 0,
        encoded_chunks=stage.encoded_chunks if stage else 0,
        reused_chunks=stage.reused_chunks if stage else 0,
        skipped=dict(log.skipped),
        ignored_files=dict(log.ignored_files),
        problems=tuple(log.examples),
        repeated_texts=built.repeated_texts if built else 0,
        seconds=round(time.perf_counter() - began, 3),
        encode_seconds=round(stage.seconds, 3) if stage else 0.0,
        **counts,
    )


def warn_of_problems(log: ProblemLog, calls: int = 1) -> None:
    """Warns once if entries were passed over, at the caller `calls` above the function here."""
    if log.skipped:
        message = f"`corpus`: {log.summary()}"
        warnings.warn(message, RetrievalIndexWarning, stacklevel=calls + 2)


def _nothing_found(source: Corpus, log: ProblemLog) -> str:
    found = f" {log.summary()}" if log.skipped else ""
    if log.ignored_files:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in log.ignored_files.items())
        found += f" Files of other kinds: {kinds}."
    return f"`corpus` must hold at least one document; {source.description} has none.{found}"
