"""What all changes of an existing index share, and the plainest of them: deleting."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval_index.errors import ArgumentError, DocumentNotFoundError
from retrieval_index.searching.opening import open_manifest
from retrieval_index.searching.version import Version
from retrieval_index.storage.commit import NewSegment, commit
from retrieval_index.storage.durable import FileEntry
from retrieval_index.storage.manifest import Manifest, SegmentEntry, read_manifest
from retrieval_index.storage.segment_files import DELETED, write_deletions
from retrieval_index.storage.workspace import Workspace, as_folder

# Segment (its place in the manifest) -> numbers of documents there.
Places = Mapping[int, set[int]]


@dataclass(frozen=True, slots=True)
class Change:
    """A change in progress: nobody else changes the index until it ends.

    Attributes:
        workspace: Where new files are made.
        manifest: The version that is changed.
        version: Its open segments.
    """

    workspace: Workspace
    manifest: Manifest
    version: Version

    @property
    def folder(self) -> Path:
        """The index folder."""
        return self.workspace.target

    def commit(
        self,
        change: str,
        *,
        added: NewSegment | None = None,
        dead: Places | None = None,
        replaces_all: bool = False,
        **updates: Any,
    ) -> Manifest:
        """Makes the next version.

        Args:
            change: What it is, for the manifest.
            added: A new segment.
            dead: Documents to delete.
            replaces_all: Whether all old segments go.
            **updates: Further fields of the manifest.

        Returns:
            The manifest of the new version.
        """
        number = self.manifest.version + 1
        folder = self.workspace.empty_folder(DELETED)
        # A change of the manifest alone brings its own list.
        segments: list[SegmentEntry] = list(updates.pop("segments", ()))
        if not replaces_all and not segments:
            for part, entry in enumerate(self.manifest.segments):
                kept = self._without(part, entry, (dead or {}).get(part, set()), folder, number)
                if kept is not None:
                    segments.append(kept)
        new = [] if added is None else [added]
        segments += [segment.entry for segment in new]
        manifest = next_version(
            self.manifest,
            change,
            segments=segments,
            next_segment=self.manifest.next_segment + len(new),
            **updates,
        )
        commit(self.workspace, manifest, new, sorted(folder.iterdir()))
        return manifest

    def _without(
        self, part: int, entry: SegmentEntry, numbers: set[int], folder: Path, version: int
    ) -> SegmentEntry | None:
        """Returns a segment's entry after deleting documents; None when none is left."""
        import numpy as np

        if not numbers:
            return entry
        segment = self.version.segments[part]
        dead = np.zeros(entry.documents, dtype=bool)
        if segment.dead is not None:
            dead |= segment.dead
        dead[list(numbers)] = True
        if dead.all():
            return None
        file = folder / f"{entry.name}-v{version:06d}.i32"
        write_deletions(file, dead)
        return entry.model_copy(
            update={
                "deleted": FileEntry.of(file, f"{DELETED}/{file.name}"),
                "deleted_documents": int(dead.sum()),
                "deleted_chunks": int(dead[segment.chunks[:, 0]].sum()),
            }
        )


@contextmanager
def changing(
    path: str | os.PathLike[str],
    plan: Mapping[str, Any] | None = None,
    *,
    checksums: bool = False,
) -> Iterator[Change]:
    """Opens an index for one change.

    Args:
        path: Folder of the index.
        plan: As in `Workspace.opened`.
        checksums: As in `open_index`.

    Raises:
        IndexNotFoundError: If there is no index.
        BuildLockedError: If another process changes it.
        CorruptIndexError: If a file of it is damaged or missing.
    """
    folder = as_folder(path, "path")
    read_manifest(folder)  # before a workspace is made: there may be no index
    with Workspace.opened(folder, plan) as workspace:
        manifest = read_manifest(folder)
        with closing(open_manifest(folder, manifest, checksums=checksums)) as index:
            yield Change(workspace, manifest, index._open())


def next_version(manifest: Manifest, change: str, **updates: Any) -> Manifest:
    """Returns the manifest that follows another one; every field is checked again."""
    body = {
        **{name: getattr(manifest, name) for name in Manifest.model_fields},
        "build_id": uuid.uuid4().hex,
        "version": manifest.version + 1,
        "changed": now(),
        "change": change,
        **updates,
    }
    return Manifest.model_validate(body)


def now() -> str:
    """Returns the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


SHOWN = 5


def delete(
    path: str | os.PathLike[str],
    ids: str | Iterable[str] | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    missing: str = "error",
) -> int:
    """Deletes documents, with all their passages, in one step.

    They are marked as deleted and never found again; their text stays in the files until
    `compact`, and in snapshots.

    Args:
        path: Folder of the index.
        ids: Ids of documents; or None, with `where`.
        where: Filter on metadata, as in `Index.search`: all documents that pass it.
        missing: What happens when an id is not there: "error" (nothing is deleted) or "ignore".

    Returns:
        How many documents were deleted. With 0, the index is as it was.

    Raises:
        ArgumentError: Unless exactly one of `ids` and `where` is given and well-formed.
        DocumentNotFoundError: If an id is not there and `missing` is "error".
        IndexNotFoundError: If there is no index.
        BuildLockedError: If another process changes the index.
    """
    if (ids is None) == (where is None):
        raise ArgumentError("`ids` or `where` must be given, and not both.")
    if missing not in ("error", "ignore"):
        raise ArgumentError(f"`missing` must be 'error' or 'ignore'; received: {missing!r}.")
    wanted = None if ids is None else _checked_ids(ids)
    with changing(path) as change:
        if wanted is None:
            assert where is not None
            dead = _passing(change, where)
        else:
            dead = _with_ids(change, wanted, missing)
        count = sum(len(numbers) for numbers in dead.values())
        if count:
            change.commit("delete", dead=dead)
    return count


def _checked_ids(ids: str | Iterable[str]) -> list[str]:
    found = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
    for identifier in found:
        if not isinstance(identifier, str):
            raise ArgumentError(f"`ids` must be strings; received: {identifier!r}.")
    return found


def _with_ids(change: Change, ids: list[str], missing: str) -> dict[int, set[int]]:
    found = change.version.find(ids)
    absent = [identifier for identifier in ids if identifier not in found]
    if absent and missing == "error":
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        raise DocumentNotFoundError(
            f"`ids`: the index {change.folder} has no document {', '.join(absent[:SHOWN])}{more}. "
            "Nothing was deleted; `missing='ignore'` deletes the others."
        )
    dead: dict[int, set[int]] = {}
    for part, number in found.values():
        dead.setdefault(part, set()).add(number)
    return dead


def _passing(change: Change, where: Mapping[str, Any]) -> dict[int, set[int]]:
    import numpy as np

    from retrieval_index.filters import parse_filter

    condition = parse_filter(where)
    dead = {}
    for part, segment in enumerate(change.version.segments):
        fits = segment.store.matching(condition, segment.entry.documents)
        if segment.dead is not None:
            fits &= ~segment.dead
        if fits.any():
            dead[part] = set(np.flatnonzero(fits).tolist())
    return dead
