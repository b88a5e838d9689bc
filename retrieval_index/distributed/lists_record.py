"""The files of inverted lists that are filled in several places, and what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval_index.distributed.places import Place
from retrieval_index.distributed.record import PartRecord
from retrieval_index.errors import CorruptIndexError, IndexNotFoundError
from retrieval_index.storage.durable import write_json
from retrieval_index.storage.file_entry import FileEntry
from retrieval_index.vectors.choice import IndexChoice


class ListsRecord(BaseModel):
    """What inverted lists were made from.

    Attributes:
        parts: `build_id` of every part.
        factory: What they are.
        trained: SHA-256 of the trained, empty index that was filled; "" for that one itself.
        file: The FAISS file.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    parts: list[str | None]
    factory: str = Field(min_length=1)
    trained: str
    file: FileEntry


def trained_file(place: Place) -> Path:
    """Returns where the trained, empty index lies."""
    return place.folder.with_name(f"trained-of-{place.shard_num:05d}.faiss")


def filled_file(place: Place) -> Path:
    """Returns where a range of all passages lies."""
    return place.folder.with_name(f"filled-{place.shard_id:05d}-of-{place.shard_num:05d}.faiss")


def record_file(path: Path) -> Path:
    """Returns where the record of a file lies."""
    return path.with_suffix(".json")


def write_lists_record(
    path: Path, records: Sequence[PartRecord], choice: IndexChoice, trained: str
) -> None:
    """Writes the record of a file, which makes it count."""
    record = ListsRecord(
        parts=[record.build_id for record in records],
        factory=choice.factory,
        trained=trained,
        file=FileEntry.of(path, path.name),
    )
    write_json(record_file(path), record.model_dump(mode="json"))


def check_trained(place: Place, records: Sequence[PartRecord], choice: IndexChoice) -> str:
    """Returns the SHA-256 of the trained index, after checking the file."""
    path = trained_file(place)
    record = lists_record(path, records, choice, "")
    if record is None:
        raise IndexNotFoundError(
            f"{path} must be the trained lists of these parts, and is missing or that of others. "
            "Run `retrieval_index.distributed.train`, or remove the file to do without."
        )
    record.file.check(path.parent)
    return record.file.sha256


def lists_record(
    path: Path, records: Sequence[PartRecord], choice: IndexChoice, trained: str
) -> ListsRecord | None:
    """Returns the record of a file if it was made from these parts and this training."""
    try:
        data: Any = record_file(path).read_bytes()
        record = ListsRecord.model_validate_json(data)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise CorruptIndexError(
            f"{record_file(path)} is damaged: {error}. Remove it and run the step again."
        ) from error
    wanted = ([part.build_id for part in records], choice.factory, trained, path.name)
    if (record.parts, record.factory, record.trained, record.file.path) != wanted:
        return None
    return record if path.exists() else None
