"""The files of a segment and their names."""

from __future__ import annotations

import re
from pathlib import Path

from retrieval_index.storage.durable import FileEntry, fsync_folder
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS, LEXICAL, RAW, VECTORS

SEGMENTS = "segments"
DELETED = "deleted"
SNAPSHOTS = "snapshots"
LEXICAL_FOLDER = "lexical"
NAMES = {
    DOCUMENTS: "documents.sqlite",
    CHUNKS: "chunks.i32",
    VECTORS: "vectors.faiss",
    RAW: "vectors.f32",
}


def segment_name(number: int) -> str:
    """Returns the name of a segment, which is that of its folder."""
    return f"s{number:06d}"


def path_of(name: str, key: str) -> str:
    """Returns where the file of a segment lies, relative to the index folder."""
    return f"{SEGMENTS}/{name}/{NAMES.get(key, key)}"


def is_deletions(path: str, name: str) -> bool:
    """Returns whether a path may be that of a segment's file of deletions."""
    return re.fullmatch(rf"{DELETED}/{name}-v\d{{6,12}}\.i32", path) is not None


def describe_files(folder: Path, name: str) -> dict[str, FileEntry]:
    """Returns the entries of all files of a finished segment, and forces their names to the disk.

    Args:
        folder: Where the files are now.
        name: The segment's name, which is where they will be.
    """
    found = {}
    for key, file in NAMES.items():
        if (folder / file).exists():
            found[key] = FileEntry.of(folder / file, path_of(name, key))
    lexical = folder / LEXICAL_FOLDER
    for path in sorted(lexical.rglob("*")):
        if path.is_dir():
            fsync_folder(path)
            continue
        key = LEXICAL + path.relative_to(lexical).as_posix()
        found[key] = FileEntry.of(path, path_of(name, key))
    if lexical.is_dir():
        fsync_folder(lexical)
    fsync_folder(folder)
    return found
