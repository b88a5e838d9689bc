"""Rewriting an index as one segment without what was deleted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval_index.building.segment_building import SEGMENT_FOLDER, lexical_writer
from retrieval_index.building.vectors_stage import VectorsStage
from retrieval_index.maintenance.changing import changing
from retrieval_index.options import IndexOptions
from retrieval_index.progress import BuildProgress
from retrieval_index.searching.segment import Segment
from retrieval_index.storage.commit import NewSegment
from retrieval_index.storage.document_store import DocumentWriter
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS, RAW, VECTORS
from retrieval_index.storage.segment_files import NAMES, ChunkTableWriter, segment_name
from retrieval_index.storage.workspace import Workspace
from retrieval_index.vectors.merging import merge_vectors
from retrieval_index.vectors.reading import write_raw

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.storage.manifest import Manifest

    Mask = npt.NDArray[np.bool_]
    Vectors = npt.NDArray[np.float32]

BLOCK_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Source:
    """A segment and which of its documents are wanted, bool (documents,)."""

    segment: Segment
    wanted: Mask

    @property
    def passages(self) -> Mask:
        """Which of its passages are wanted, bool (chunks,)."""
        found: Mask = self.wanted[self.segment.chunks[:, 0]]
        return found

    def vectors(self) -> Iterator[Vectors]:
        """Yields the vectors of those passages, in blocks."""
        passages = self.passages
        for first in range(0, len(passages), BLOCK_ROWS):
            kept = passages[first : first + BLOCK_ROWS]
            if kept.any():
                yield self.segment.vectors.rows(first, len(kept))[kept]


def live_sources(segments: Iterable[Segment]) -> list[Source]:
    """Returns all documents that are not deleted."""
    import numpy as np

    return [
        Source(s, np.ones(s.entry.documents, dtype=bool) if s.dead is None else ~s.dead)
        for s in segments
    ]


def rewrite(
    sources: Sequence[Source],
    name: str,
    dimension: int,
    lexical: dict[str, Any] | None,
    options: IndexOptions,
    workspace: Workspace,
    progress: BuildProgress,
) -> NewSegment:
    """Makes one segment of the wanted documents of several, in their order.

    Args:
        sources: Where they are; at least one is wanted.
        name: Name of the new segment.
        dimension: Length of a vector.
        lexical: Settings of the BM25 index, or None.
        options: Which FAISS index is wanted.
        workspace: Where the files are made.
        progress: Told what happens.
    """
    folder = workspace.empty_folder(SEGMENT_FOLDER)
    progress.stage("copying documents")
    with ExitStack() as files:
        store = files.enter_context(closing(DocumentWriter(folder / NAMES[DOCUMENTS])))
        table = files.enter_context(closing(ChunkTableWriter(folder / NAMES[CHUNKS])))
        words = lexical_writer(folder, lexical)
        for source in sources:
            _copy(source, store, table, words, progress)
        store.finish()
        table.finish()
    if words is not None:
        progress.stage("lexical index")
        words.finish()
    stage = VectorsStage(options, dimension, table.count, folder, strict=False)
    choice = stage.choose()

    def parts() -> Iterator[Vectors]:
        for source in sources:
            yield from source.vectors()

    merge_vectors(
        [(source.segment.vectors, source.passages) for source in sources],
        choice,
        folder / NAMES[VECTORS],
        seed=options.seed,
        reproducible=options.reproducible,
        progress=lambda stage, done, total: progress.stage(f"{stage} {done:,}/{total:,}"),
    )
    if choice.lossy:
        write_raw(parts(), dimension, folder / NAMES[RAW])
    entry = stage.measure(stage.entry(choice), lambda count: None, progress.stage)
    return NewSegment.of(folder, name, documents=store.documents, chunks=table.count, vectors=entry)


def _copy(
    source: Source,
    store: DocumentWriter,
    table: ChunkTableWriter,
    words: Any,
    progress: BuildProgress,
) -> None:
    import numpy as np

    chunks = source.segment.chunks
    starts = np.searchsorted(chunks[:, 0], np.arange(len(source.wanted) + 1)).tolist()
    for number, document in enumerate(source.segment.store.stream()):
        if not source.wanted[number]:
            continue
        rows = chunks[starts[number] : starts[number + 1]].tolist()
        titles = source.segment.store.headings({row[3] for row in rows})
        added = store.add(document)
        assert added, f"two wanted documents have the id {document.id!r}"
        texts = []
        for _, start, end, heading in rows:
            title, text = titles[heading], document.text[start:end]
            table.add(store.documents - 1, start, end, store.heading(title))
            texts.append(f"{title}\n{text}" if title and text else (title or text))
        if words is not None:
            words.add(texts)
        progress.document()
        progress.passages(len(rows))


def compact(path: str | os.PathLike[str], *, progress: bool = True) -> bool:
    """Rewrites an index as one segment: deleted documents are gone from the files for good.

    Many segments and many deletions make searches slower, and deleted text stays readable in the
    files until then. The FAISS index is chosen anew for the size and budgets of the build, and
    measured anew. Nothing is encoded again. Snapshots keep what they hold.

    Args:
        path: Folder of the index.
        progress: Whether to show a progress line when standard error is a terminal.

    Returns:
        Whether there was something to do.

    Raises:
        IndexNotFoundError: If there is no index.
        BuildLockedError: If another process changes the index.
        CorruptIndexError: If a file of it is damaged or missing.
    """
    # With checksums: what is copied is signed anew, and damage would be hidden for good.
    with changing(path, checksums=True) as change, BuildProgress(progress) as shown:
        manifest = change.manifest
        if not needs_compaction(manifest):
            return False
        rewritten = rewrite(
            live_sources(change.version.segments),
            segment_name(manifest.next_segment),
            manifest.encoder.dimension,
            manifest.lexical,
            IndexOptions.from_dict(manifest.options),
            change.workspace,
            shown,
        )
        change.commit("compact", added=rewritten, replaces_all=True)
    return True


def needs_compaction(manifest: Manifest) -> bool:
    """Returns whether there is more than one segment, or a deletion."""
    return len(manifest.segments) > 1 or any(s.deleted_documents for s in manifest.segments)
