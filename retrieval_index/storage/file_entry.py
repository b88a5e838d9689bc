"""A file of an index as its manifest knows it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, field_validator

from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.durable import sha256_file


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
