"""Files written so that a crash leaves them whole or absent, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from retrieval_index.errors import CorruptIndexError


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


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
