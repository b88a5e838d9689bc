"""One index out of the parts that were built in many places."""

from __future__ import annotations

import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.building.segment_building import SEGMENT_FOLDER, lexical_writer
from retrieval_index.building.vectors_stage import VectorsStage, sample_sentences
from retrieval_index.distributed.interleaving import Interleaved, opened
from retrieval_index.distributed.lists import join_lists, remove_lists
from retrieval_index.distributed.plan import (
    Place,
    Plan,
    all_places,
    check_shard_num,
    index_options,
    parts_folder,
)
from retrieval_index.distributed.record import PartRecord, agreed_records
from retrieval_index.encoders.protocol import encode_queries
from retrieval_index.encoders.registry import resolve_encoder
from retrieval_index.errors import (
    CorpusError,
    CorruptIndexError,
    EncoderError,
    EncoderMismatchError,
    RetrievalIndexWarning,
)
from retrieval_index.maintenance.changing import now
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.searching.opening import open_index
from retrieval_index.storage.commit import NewSegment, commit
from retrieval_index.storage.document_store import DocumentWriter
from retrieval_index.storage.manifest import (
    CHUNKS,
    DOCUMENTS,
    MANIFEST_NAME,
    RAW,
    VECTORS,
    Manifest,
    VectorsEntry,
    read_manifest,
)
from retrieval_index.storage.segment_files import NAMES, ChunkTableWriter, segment_name
from retrieval_index.storage.workspace import Workspace, check_target
from retrieval_index.vectors.reading import write_raw

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.encoders.protocol import Encoder
    from retrieval_index.searching.index import Index


class SentenceQueries:
    """Encodes sentences of the documents, which needs the encoder of the parts.

    Args:
        plan: The plan of the parts.
        encoder: The encoder, or its name; None: the name in the plan.

    Attributes:
        given: The encoder for opening the index; None: to be found by its name.

    Raises:
        EncoderMismatchError: If an encoder was given that is not the one of the parts.
        EncoderError: If one was given that cannot be found.
    """

    def __init__(self, plan: Plan, encoder: str | Encoder | None) -> None:
        self._plan = plan
        self.given = None if encoder is None else self._same(resolve_encoder(encoder))

    def __call__(self, folder: Path, count: int) -> npt.NDArray[np.float32] | None:
        """Returns vectors of up to `count` sentences, or None where there are none.

        Args:
            folder: The segment, with finished documents and passages.
            count: Sentences wanted.
        """
        encoder = self.given or self._found()
        if encoder is None or getattr(encoder, "encode_documents", None) is not None:
            return None
        sentences = sample_sentences(folder, count, index_options(self._plan).seed)
        if not sentences:
            return None
        return encode_queries(encoder, sentences, self._plan.encoder.normalize)

    def _found(self) -> Encoder | None:
        """Returns the encoder of the parts; passages can stand in where it is not here."""
        try:
            return self._same(resolve_encoder(self._plan.encoder.name))
        except EncoderError as error:
            warnings.warn(
                "`encoder`: the index is measured with passages as queries instead of sentences, "
                f"because its encoder is not here. {error}",
                RetrievalIndexWarning,
                stacklevel=2,
            )
            return None

    def _same(self, encoder: Encoder) -> Encoder:
        wanted = self._plan.encoder
        if (encoder.dimension, encoder.fingerprint) != (wanted.dimension, wanted.fingerprint):
            raise EncoderMismatchError(
                f"`encoder` must be the one of the parts: {wanted.name}, dimension "
                f"{wanted.dimension}, fingerprint {wanted.fingerprint}; received {encoder.name}, "
                f"dimension {encoder.dimension}, fingerprint {encoder.fingerprint}."
            )
        return encoder


def _build_vectors(
    parts: Interleaved,
    stage: VectorsStage,
    folder: Path,
    places: Sequence[Place],
    records: Sequence[PartRecord],
    say: Callable[[str], None],
) -> VectorsEntry:
    """Writes the FAISS index of all passages, and their vectors beside it if it is lossy.

    Args:
        parts: All vectors.
        stage: Chooses, makes and measures the index.
        folder: Where its files go.
        places: Of all parts, where `fill_part` may have left inverted lists.
        records: Of all parts.
        say: Told what is being done.

    Returns:
        Its entry, not measured yet.
    """
    choice = stage.choose()
    say("joining lists")
    if not join_lists(places, records, choice, folder / NAMES[VECTORS]):
        return stage.build(parts.vectors, say)
    if choice.lossy:
        write_raw(parts.vectors(), parts.dimension, folder / NAMES[RAW])
    return stage.entry(choice)


def finish(
    out: str | os.PathLike[str],
    shard_num: int,
    *,
    encoder: str | Encoder | None = None,
    overwrite: bool = False,
    remove_parts: bool = False,
    progress: bool = True,
) -> Index:
    """Makes one index of all parts that `build_part` made.

    Documents and passages have the order of the corpus, and duplicates were decided over the whole
    of it: the index is the one that `retrieval_index.build` makes on one machine, with the same
    passage numbers. (A neural encoder's vectors depend in their last bits on the texts that share
    a batch; everything else is the same to the bit.) Nothing is encoded again, except up to 200
    sentences that measure the FAISS index where one is measured.

    Args:
        out: Folder of the index, as given to `build_part`.
        shard_num: Number of parts, as given to `build_part`.
        encoder: The encoder of the parts, or its name. Default: found by the name in the parts
            when it is needed.
        overwrite: Whether an index at `out` is replaced, at the very end.
        remove_parts: Whether the parts are removed when the index is complete. Default False.
        progress: Whether to show a progress line when standard error is a terminal.

    Returns:
        The opened index; in its report, seconds are those of all parts added up.

    Raises:
        IndexNotFoundError: If parts are missing or not finished; all of them are named.
        ArgumentError: If parts were built with different options or encoders.
        CorpusError: If parts were built from different corpora, or the corpus has no document.
        CorruptIndexError: If a part is damaged.
        IndexExistsError: If something is at `out`.
        EncoderMismatchError: If `encoder` is not the one of the parts.
        BuildLockedError: If another process is building or changing the index.
    """
    began = time.perf_counter()
    target = check_target(out, overwrite)
    places = list(all_places(target, check_shard_num(shard_num)))
    records = agreed_records(places)
    plan = records[0].plan
    if not records[0].corpus_documents:
        raise CorpusError(_nothing_found(records[0]))
    queries = SentenceQueries(plan, encoder)
    with ExitStack() as stack:
        # Checksums are compared: what was copied from machine to machine may have suffered.
        segments = stack.enter_context(opened(places, records))
        workspace = stack.enter_context(Workspace.opened(target, None))
        passages = sum(record.chunks for record in records)
        shown = stack.enter_context(BuildProgress(progress, passages))
        parts = Interleaved(segments, shard_num, plan.encoder.dimension)
        old = read_manifest(target) if (target / MANIFEST_NAME).exists() else None
        number = old.next_segment if old else 1
        made = _segment(parts, records, places, segment_name(number), queries, workspace, shown)
        time_now = now()
        manifest = Manifest(
            build_id=uuid.uuid4().hex,
            version=old.version + 1 if old else 1,
            created=old.created if old else time_now,
            changed=time_now,
            change="build",
            encoder=plan.encoder,
            chunker=plan.chunker,
            lexical=plan.lexical,
            segments=[made.entry],
            next_segment=number + 1,
            options=plan.options,
            search={},
            report=_report(records, time.perf_counter() - began).to_dict(),
        )
        commit(workspace, manifest, [made])
    if remove_parts:
        _remove(places)
    return open_index(target, queries.given, checksums=False)


def _segment(
    parts: Interleaved,
    records: list[PartRecord],
    places: list[Place],
    name: str,
    queries: SentenceQueries,
    workspace: Workspace,
    progress: BuildProgress,
) -> NewSegment:
    folder = workspace.empty_folder(SEGMENT_FOLDER)
    plan = records[0].plan
    progress.stage("copying documents")
    _copy_documents(parts, folder, plan.lexical, progress)
    stage = VectorsStage(index_options(plan), plan.encoder.dimension, parts.chunks, folder)
    entry = _build_vectors(parts, stage, folder, places, records, progress.stage)
    entry = stage.measure(entry, lambda count: queries(folder, count), progress.stage)
    return NewSegment.of(
        folder, name, documents=parts.documents, chunks=parts.chunks, vectors=entry
    )


def _copy_documents(
    parts: Interleaved, folder: Path, lexical: dict[str, Any] | None, progress: BuildProgress
) -> None:
    with ExitStack() as files:
        store = files.enter_context(closing(DocumentWriter(folder / NAMES[DOCUMENTS])))
        table = files.enter_context(closing(ChunkTableWriter(folder / NAMES[CHUNKS])))
        words = lexical_writer(folder, lexical)
        for document, passages in parts.stored():
            if not store.add(document):
                raise CorruptIndexError(f"Two parts hold a document with the id {document.id!r}.")
            texts = []
            for start, end, heading in passages:
                table.add(store.documents - 1, start, end, store.heading(heading))
                text = document.text[start:end]
                texts.append(f"{heading}\n{text}" if heading and text else (heading or text))
            if words is not None:
                words.add(texts)
            progress.document()
            progress.passages(len(passages))
        store.finish()
        table.finish()
    if words is not None:
        progress.stage("lexical index")
        words.finish()


def _report(records: list[PartRecord], seconds: float) -> BuildReport:
    """Returns what a build on one machine would report."""
    reports = [BuildReport.from_dict(record.report) for record in records]
    first = reports[0]
    return BuildReport(
        corpus=first.corpus,
        documents=sum(report.documents for report in reports),
        chunks=sum(report.chunks for report in reports),
        encoded_chunks=sum(report.encoded_chunks for report in reports),
        reused_chunks=sum(report.reused_chunks for report in reports),
        # Every part has seen the whole corpus:
        skipped=first.skipped,
        ignored_files=first.ignored_files,
        problems=first.problems,
        repeated_texts=first.repeated_texts,
        seconds=round(sum(report.seconds for report in reports) + seconds, 3),
        encode_seconds=round(sum(report.encode_seconds for report in reports), 3),
    )


def _nothing_found(record: PartRecord) -> str:
    report = BuildReport.from_dict(record.report)
    skipped = ", ".join(f"{reason} {count}" for reason, count in sorted(report.skipped.items()))
    found = f" {report.skipped_total} entries were passed over ({skipped})." if skipped else ""
    return f"`corpus` must hold at least one document; {report.corpus} has none.{found}"


def _remove(places: list[Place]) -> None:
    """Removes the parts: records first, so that what is left of a crash is no finished part."""
    for place in places:
        place.record.unlink(missing_ok=True)
    remove_lists(places)
    for place in places:
        shutil.rmtree(place.folder, ignore_errors=True)
    folder = parts_folder(places[0].target)
    if not any(folder.iterdir()):
        folder.rmdir()
