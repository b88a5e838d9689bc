"""The manifest: the one file that says which files make up an index and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrieval_index.errors import IndexNotFoundError
from retrieval_index.storage.durable import CheckedRecord, FileEntry

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"

# The files of a segment, by what is in them. Those of the lexical index are "lexical/<name>".
DOCUMENTS, CHUNKS, VECTORS, RAW = "documents", "chunks", "vectors", "raw"
LEXICAL = "lexical/"
REQUIRED = frozenset({DOCUMENTS, CHUNKS, VECTORS})


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class EncoderEntry(_Strict):
    """The encoder whose vectors these are."""

    name: str = Field(min_length=1)
    fingerprint: str = Field(min_length=1)
    dimension: int = Field(ge=1, le=1_000_000)
    normalize: bool


class ChunkerEntry(_Strict):
    """How documents were cut."""

    method: str
    units: str
    size: int = Field(ge=0)
    overlap: int = Field(ge=0)


class VectorsEntry(_Strict):
    """The FAISS index of a segment.

    Attributes:
        factory: FAISS factory string.
        metric: Always the inner product; cosine when the encoder entry says `normalize`.
        version: FAISS that wrote it.
        lossy: Whether it holds codes, with the vectors themselves beside it (file "raw").
        reason: Why this kind was chosen.
        parameters: Search parameters, as `tune` found them.
        measured: What was measured against exact search: `recall`, `milliseconds`, `k`,
            `queries`, ...; None when exact or not measured.
    """

    factory: str = Field(min_length=1, max_length=200)
    metric: Literal["inner_product"]
    version: str
    lossy: bool
    reason: str
    parameters: dict[str, int | float] = Field(default_factory=dict)
    measured: dict[str, Any] | None = None


class SegmentEntry(_Strict):
    """An immutable part of the index, and what was deleted from it since.

    Attributes:
        name: Folder under `segments/`.
        documents: Documents in its files, deleted ones included.
        chunks: Passages in its files, which is the number of vectors.
        vectors: Its FAISS index.
        files: Its files.
        deleted: File with the numbers of its deleted documents; None: none are.
        deleted_documents: How many those are.
        deleted_chunks: Passages of theirs.
    """

    name: str = Field(pattern=r"^s\d{6,12}$")
    documents: int = Field(ge=1)
    chunks: int = Field(ge=1)
    vectors: VectorsEntry
    files: dict[str, FileEntry]
    deleted: FileEntry | None = None
    deleted_documents: int = Field(default=0, ge=0)
    deleted_chunks: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> SegmentEntry:
        wanted = REQUIRED | ({RAW} if self.vectors.lossy else set())
        found = {key for key in self.files if not key.startswith(LEXICAL)}
        if found != wanted:
            raise ValueError(f"`files` must be {sorted(wanted)}, not {sorted(found)}")
        if self.deleted_documents > self.documents or self.deleted_chunks > self.chunks:
            raise ValueError("more is deleted than there is")
        if (self.deleted is None) != (self.deleted_documents == 0):
            raise ValueError("`deleted` and `deleted_documents` do not agree")
        from retrieval_index.storage.segment_files import is_deletions, path_of

        for key, file in self.files.items():
            if file.path != path_of(self.name, key):
                raise ValueError(f"{key!r} must be {path_of(self.name, key)}, not {file.path!r}")
        if self.deleted is not None and not is_deletions(self.deleted.path, self.name):
            raise ValueError(f"{self.deleted.path!r} is no file of deletions of {self.name}")
        return self

    @property
    def live_documents(self) -> int:
        """Documents that are not deleted."""
        return self.documents - self.deleted_documents

    @property
    def live_chunks(self) -> int:
        """Passages that are not deleted."""
        return self.chunks - self.deleted_chunks

    def all_files(self) -> Iterator[FileEntry]:
        """Yields its files, the deletions among them."""
        yield from self.files.values()
        if self.deleted is not None:
            yield self.deleted


class Manifest(CheckedRecord):
    """What an index is made of.

    Attributes:
        build_id: Differs for every version of every index.
        version: 1 for a new index, one more with every change.
        created: Time of the first version, ISO 8601, UTC.
        changed: Time of this version.
        change: What made this version: "build", "add", "update", "delete", "compact", ...
        encoder: The encoder of all vectors.
        chunker: How all documents were cut.
        lexical: Settings of the BM25 index (`analyzer`, `k1`, `b`); None without one.
        segments: Its parts; passages are numbered through them in this order.
        next_segment: Number for the next new segment; names are never used twice.
        options: What later additions go by: index kind and budgets given at the build.
        search: Defaults of `Index.search` that tuning stored.
        report: `BuildReport.to_dict()` of the last change that read a corpus.
    """

    form = "retrieval_index"
    form_version = FORMAT_VERSION
    noun = "manifest of a retrieval index"

    build_id: str = Field(min_length=1)
    version: int = Field(ge=1)
    created: str
    changed: str
    change: str
    encoder: EncoderEntry
    chunker: ChunkerEntry
    lexical: dict[str, Any] | None
    segments: list[SegmentEntry]
    next_segment: int = Field(ge=1)
    options: dict[str, Any]
    search: dict[str, Any]
    report: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [segment.name for segment in self.segments]
        if len(set(names)) != len(names):
            raise ValueError("two segments have the same name")
        if any(int(name[1:]) >= self.next_segment for name in names):
            raise ValueError("`next_segment` is in use")
        for segment in self.segments:
            if (self.lexical is None) != (not any(k.startswith(LEXICAL) for k in segment.files)):
                raise ValueError("`lexical` and the files of the segments do not agree")
        self._check_settings()
        return self

    def _check_settings(self) -> None:
        """Checks what is read from here long after the index was opened."""
        from retrieval_index.options import check_options
        from retrieval_index.report import BuildReport
        from retrieval_index.searching.hybrid import Hybrid

        checks = {
            "report": BuildReport.from_dict,
            "options": lambda options: check_options(**options),
            "search": Hybrid.from_dict,
        }
        for name, check in checks.items():
            try:
                check(getattr(self, name))
            except (TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"`{name}` is malformed ({error})") from error
        if self.lexical is not None:
            kinds = {key: type(value) for key, value in self.lexical.items()}
            if kinds != {"analyzer": dict, "k1": float, "b": float}:
                raise ValueError("`lexical` is malformed")

    @property
    def documents(self) -> int:
        """Documents that are not deleted."""
        return sum(segment.live_documents for segment in self.segments)

    @property
    def chunks(self) -> int:
        """Passages that are not deleted."""
        return sum(segment.live_chunks for segment in self.segments)

    def all_files(self) -> Iterator[FileEntry]:
        """Yields every file that this version needs."""
        for segment in self.segments:
            yield from segment.all_files()


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of the current version of an index.

    Args:
        folder: The index folder.

    Raises:
        IndexNotFoundError: If there is none.
        NewerFormatError: If a newer version of this package wrote it.
        CorruptIndexError: If it is damaged or something else.
    """
    try:
        return read_manifest_file(folder / MANIFEST_NAME)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexNotFoundError(
            f"`path` must be the folder of an index, with a {MANIFEST_NAME} in it; "
            f"received: {folder}. `retrieval_index.build(corpus, {str(folder)!r})` makes one."
        ) from error


def read_manifest_file(path: Path) -> Manifest:
    """Returns the manifest in a file; as `read_manifest`, but an absent file is left to raise."""
    return Manifest.read(path, "Build the index again.")
