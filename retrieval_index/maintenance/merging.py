"""One index out of several."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from retrieval_index.errors import ArgumentError
from retrieval_index.maintenance.changing import now
from retrieval_index.maintenance.compacting import Source, live_sources, rewrite
from retrieval_index.options import IndexOptions
from retrieval_index.progress import BuildProgress
from retrieval_index.report import BuildReport
from retrieval_index.searching.index import Index
from retrieval_index.searching.opening import open_index
from retrieval_index.searching.version import Version
from retrieval_index.storage.commit import commit
from retrieval_index.storage.manifest import MANIFEST_NAME, Manifest, read_manifest
from retrieval_index.storage.segment_files import segment_name
from retrieval_index.storage.workspace import Workspace, as_folder, check_target

ALIKE = ("encoder", "chunker", "lexical")


def merge(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> Index:
    """Makes one index, of one segment, out of several; those stay as they are.

    Nothing is encoded again. FAISS indexes that were trained together are merged by FAISS, others
    are filled anew from their vectors. Of documents with the same id, that of the first index is
    kept; the others are counted as "duplicate_id" in the report.

    Args:
        paths: Folders of the indexes, in the order their documents shall have.
        out: Folder of the new index, which may be none of them.
        overwrite: Whether an index at `out` is replaced, at the very end.
        progress: Whether to show a progress line when standard error is a terminal.

    Returns:
        The opened index.

    Raises:
        ArgumentError: If there is no path, or the indexes differ in encoder, chunking or lexical
            settings.
        IndexNotFoundError: If a path is no index.
        IndexExistsError: If something is at `out`.
    """
    folders = [as_folder(path, "paths") for path in _as_paths(paths)]
    if not folders:
        raise ArgumentError("`paths` must name at least one index.")
    target = check_target(out, overwrite)
    if target in folders:
        raise ArgumentError(f"`out` must be none of `paths`; received: {target}.")
    manifests = [read_manifest(folder) for folder in folders]
    _check_alike(folders, manifests)
    first = manifests[0]
    with ExitStack() as opened:
        versions: list[Version] = []
        for folder in folders:
            index = opened.enter_context(closing(open_index(folder)))
            versions.append(index._open())
        shown = opened.enter_context(BuildProgress(progress))
        workspace = opened.enter_context(Workspace.opened(target, None))
        sources, repeated = distinct_sources(versions)
        old = read_manifest(target) if (target / MANIFEST_NAME).exists() else None
        number = old.next_segment if old else 1
        made = rewrite(
            sources,
            segment_name(number),
            first.encoder.dimension,
            first.lexical,
            IndexOptions.from_dict(first.options),
            workspace,
            shown,
        )
        time_now = now()
        manifest = first.model_copy(
            update={
                "build_id": uuid.uuid4().hex,
                "version": old.version + 1 if old else 1,
                "created": time_now,
                "changed": time_now,
                "change": "merge",
                "segments": [made.entry],
                "next_segment": number + 1,
                "report": _report(folders, made.entry, repeated).to_dict(),
            }
        )
        commit(workspace, manifest, [made])
    return open_index(target, checksums=False)


def distinct_sources(versions: Iterable[Version]) -> tuple[list[Source], int]:
    """Returns the documents of several versions, each id once, and how many were repeated."""
    earlier: list[Version] = []
    sources: list[Source] = []
    repeated = 0
    for version in versions:
        for source in live_sources(version.segments):
            for number, document in enumerate(source.segment.store.stream()):
                if source.wanted[number] and any(v.find([document.id]) for v in earlier):
                    source.wanted[number] = False
                    repeated += 1
            if source.wanted.any():
                sources.append(source)
        earlier.append(version)
    return sources, repeated


def _as_paths(paths: Any) -> list[Any]:
    if isinstance(paths, str | os.PathLike):
        raise ArgumentError(f"`paths` must be a list of folders; received one: {paths!r}.")
    return list(paths)


def _check_alike(folders: list[Path], manifests: list[Manifest]) -> None:
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        for name in ALIKE:
            one, other = getattr(manifests[0], name), getattr(manifest, name)
            if one != other:
                raise ArgumentError(
                    f"`paths`: the {name} of {folder} ({other}) is not that of {folders[0]} "
                    f"({one}). Build one of them again with the settings of the other."
                )


def _report(folders: list[Path], entry: Any, repeated: int) -> BuildReport:
    return BuildReport(
        corpus=" + ".join(map(str, folders)),
        documents=entry.documents,
        chunks=entry.chunks,
        encoded_chunks=0,
        reused_chunks=entry.chunks,
        skipped={"duplicate_id": repeated} if repeated else {},
    )
