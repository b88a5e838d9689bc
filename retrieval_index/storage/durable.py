"""Files written so that a crash leaves them whole or absent, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from retrieval_index.errors import CorruptIndexError, NewerFormatError

MAX_BYTES = 64 * 2**20  # a manifest or record is a few kilobytes; more is none


def fsync_file(path: Path) -> None:
    """Forces the content of a file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Forces the names in a folder to the disk, without which a new file may vanish in a crash."""
    if os.name == "nt":
        return  # Windows cannot open folders and makes renames durable by itself
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, data: Any) -> None:
    """Writes JSON so that a crash leaves the old file or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)


def checksum(body: Mapping[str, Any]) -> str:
    """SHA-256 of JSON data in hex, however it is laid out; "" where it is none."""
    try:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return ""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CheckedRecord(BaseModel):
    """Facts in a JSON file of their own, under its form, its version and a checksum."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    form: ClassVar[str]
    form_version: ClassVar[int]
    noun: ClassVar[str]  # what such a file is, for messages

    def write(self, path: Path) -> None:
        """Writes the file atomically."""
        body = self.model_dump(mode="json")
        header = {"format": self.form, "format_version": self.form_version}
        write_json(path, {**header, "checksum": checksum(body), **body})

    @classmethod
    def read(cls, path: Path, remedy: str) -> Self:
        """Returns what was written; an absent file is left to raise.

        Args:
            path: The file.
            remedy: What the user shall do about a damaged one.

        Raises:
            NewerFormatError: If a newer version of this package wrote it.
            CorruptIndexError: If it is damaged or something else.
        """
        known = cls.form_version
        try:
            if path.stat().st_size > MAX_BYTES:
                raise CorruptIndexError(
                    f"{path} is too large for a {cls.noun} ({MAX_BYTES} bytes)."
                )
            data = json.loads(path.read_bytes().decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError, CorruptIndexError):
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise CorruptIndexError(f"{path} is damaged: {error}. {remedy}") from error
        if not isinstance(data, dict) or data.pop("format", None) != cls.form:
            raise CorruptIndexError(f"{path} is no {cls.noun}. {remedy}")
        version = data.pop("format_version", None)
        if isinstance(version, int) and version > known:
            raise NewerFormatError(
                f"{path} has format version {version}; this installation reads up to {known}. "
                "Run: pip install --upgrade kzoo"
            )
        if isinstance(version, int) and version < known:
            raise CorruptIndexError(
                f"{path} has format version {version}, which no released version wrote; this "
                f"installation reads {known}. {remedy}"
            )
        if data.pop("checksum", None) != checksum(data) or version != known:
            raise CorruptIndexError(
                f"{path} was changed after it was written (its checksum differs). {remedy}"
            )
        # A checksum does not keep a foreign program from writing nonsense: every field is checked.
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise CorruptIndexError(
                f"{path} is no valid {cls.noun}: {place}: {first['msg']}. {remedy}"
            ) from error


class FileEntry(BaseModel):
    """A file of the index: path relative to the index folder, size in bytes, SHA-256 in hex."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    path: str = Field(min_length=1, max_length=1000)
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
            raise ValueError(f"the file {path!r} lies outside the index folder")
        return path

    @classmethod
    def of(cls, file: Path, path: str) -> FileEntry:
        """Returns the entry of an existing file that will lie at `path`."""
        return cls(path=path, size=file.stat().st_size, sha256=sha256_file(file))

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
