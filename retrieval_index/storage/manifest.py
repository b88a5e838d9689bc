"""The manifest: the one file that says which files make up an index and what is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from retrieval_index.errors import CorruptIndexError, IndexNotFoundError, NewerFormatError
from retrieval_index.report import BuildReport
from retrieval_index.storage.durable import sha256_file, write_json

FORMAT = "retrieval_index"
FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
MAX_BYTES = 16 * 2**20  # a manifest is a few kilobytes; more is no manifest
DOCUMENTS, VECTORS = "documents", "vectors"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the index: path relative to the index folder, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, file: Path, path: str) -> FileEntry:
        """Returns the entry of an existing file that will lie at `path`."""
        return cls(path, file.stat().st_size, sha256_file(file))

    def check(self, folder: Path, checksum: bool = True) -> Path:
        """Returns the file's path after checking it.

        Args:
            folder: The index folder.
            checksum: Whether to read the whole file; otherwise only its size is compared.

        Raises:
            CorruptIndexError: If the file is missing or is not the one that was written.
        """
        file = folder / self.path
        try:
            size = file.stat().st_size
            if size != self.size:
                raise CorruptIndexError(
                    f"{file} has {size} bytes but was written with {self.size}: it is damaged. "
                    "Build the index again."
                )
            actual = sha256_file(file) if checksum else self.sha256
        except OSError as error:
            raise CorruptIndexError(
                f"{file} is part of the index but unreadable: {error}."
            ) from error
        if actual != self.sha256:
            raise CorruptIndexError(
                f"{file} has SHA-256 {actual} but was written with {self.sha256}: it is damaged. "
                "Build the index again."
            )
        return file


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index is made of.

    Attributes:
        build_id: Differs for every build.
        created: Time of the build, ISO 8601, UTC.
        encoder: `name`, `fingerprint`, `dimension`, `normalize`.
        chunker: `units`, `size`, `overlap`.
        faiss: `factory`, `metric`, `version`.
        documents: Number of documents.
        chunks: Number of passages, which is the number of vectors.
        report: `BuildReport.to_dict()`.
        files: The files under "documents" and "vectors".
    """

    build_id: str
    created: str
    encoder: dict[str, Any]
    chunker: dict[str, Any]
    faiss: dict[str, Any]
    documents: int
    chunks: int
    report: dict[str, Any]
    files: dict[str, FileEntry]

    def write(self, folder: Path) -> None:
        """Writes the manifest atomically; from then on the folder is this index."""
        body = asdict(self)
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "checksum": _checksum(body)}
        write_json(folder / MANIFEST_NAME, {**header, **body})


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of an index.

    Args:
        folder: The index folder.

    Raises:
        IndexNotFoundError: If there is none.
        NewerFormatError: If a newer version of this package wrote it.
        CorruptIndexError: If it is damaged or something else.
    """
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptIndexError(f"{path} is too large for a manifest ({MAX_BYTES} bytes).")
        data = json.loads(path.read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexNotFoundError(
            f"`path` must be the folder of an index, with a {MANIFEST_NAME} in it; "
            f"received: {folder}. `retrieval_index.build(corpus, {str(folder)!r})` makes one."
        ) from error
    except CorruptIndexError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{path} is damaged: {error}. Build the index again.") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise CorruptIndexError(f"{path} is no manifest of a retrieval index.")
    version = data.pop("format_version", None)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path} has format version {version}; this installation reads up to "
            f"{FORMAT_VERSION}. Run: pip install --upgrade kzoo"
        )
    if data.pop("checksum", None) != _checksum(data) or version != FORMAT_VERSION:
        raise CorruptIndexError(
            f"{path} was changed after it was written (its checksum differs). "
            "Build the index again."
        )
    return _parse(data, path)


def _parse(data: dict[str, Any], path: Path) -> Manifest:
    """Checks every field: a checksum does not keep a foreign program from writing nonsense."""
    problem = _first_problem(data)
    if problem is not None:
        raise CorruptIndexError(f"{path} is no valid manifest: {problem}.")
    files = {key: FileEntry(**entry) for key, entry in data["files"].items()}
    return Manifest(**{**data, "files": files})


_KINDS: dict[str, type] = {
    "build_id": str,
    "created": str,
    "encoder": dict,
    "chunker": dict,
    "faiss": dict,
    "documents": int,
    "chunks": int,
    "report": dict,
    "files": dict,
}
_PART_KINDS: dict[str, dict[str, type]] = {
    "encoder": {"name": str, "fingerprint": str, "dimension": int, "normalize": bool},
    "chunker": {"units": str, "size": int, "overlap": int},
    "faiss": {"factory": str, "metric": str, "version": str},
}
_FILE_KINDS: dict[str, type] = {"path": str, "size": int, "sha256": str}


def _first_problem(data: dict[str, Any]) -> str | None:
    problem = _mismatch(data, _KINDS)
    for part, kinds in _PART_KINDS.items():
        problem = problem or _mismatch(data[part], kinds)
    if problem is not None:
        return problem
    if set(data["files"]) != {DOCUMENTS, VECTORS}:
        return f"`files` must be {DOCUMENTS!r} and {VECTORS!r}"
    for entry in data["files"].values():
        problem = _mismatch(entry, _FILE_KINDS)
        if problem is not None:
            return problem
        path = PurePosixPath(entry["path"])
        if path.is_absolute() or ".." in path.parts or "\\" in entry["path"] or "\0" in str(path):
            return f"the file {entry['path']!r} lies outside the index folder"
    if min(data["documents"], data["chunks"], data["encoder"]["dimension"]) < 1:
        return "`documents`, `chunks` and `dimension` must be at least 1"
    try:
        BuildReport.from_dict(data["report"])
    except (TypeError, AttributeError) as error:
        return f"`report` is malformed ({error})"
    return None


def _mismatch(data: object, kinds: Mapping[str, type]) -> str | None:
    if not isinstance(data, dict):
        return f"{data!r:.60} must be an object"
    if set(data) != set(kinds):
        return f"the keys {sorted(map(str, data))} must be {sorted(kinds)}"
    for key, kind in kinds.items():
        if not isinstance(data[key], kind) or (kind is int and isinstance(data[key], bool)):
            return f"`{key}` must be of type {kind.__name__}, not {data[key]!r:.60}"
    return None


def _checksum(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


assert set(_KINDS) == {field.name for field in fields(Manifest)}
