"""Rewriting an index as one segment without what was deleted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from retrieval_index.maintenance.changing import changing
from retrieval_index.maintenance.rewriting import live_sources, rewrite
from retrieval_index.options import IndexOptions
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.segment_files import segment_name

if TYPE_CHECKING:
    from retrieval_index.storage.manifest import Manifest


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
