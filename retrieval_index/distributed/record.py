"""What is written about a part when it is finished, and whether all parts belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from retrieval_index.distributed.plan import Place, Plan
from retrieval_index.errors import (
    ArgumentError,
    CorpusError,
    CorruptIndexError,
    IndexExistsError,
    IndexNotFoundError,
)
from retrieval_index.report import BuildReport
from retrieval_index.storage.durable import CheckedRecord
from retrieval_index.storage.manifest import MANIFEST_NAME, read_manifest


class PartRecord(CheckedRecord):
    """A finished part.

    Attributes:
        shard_id: Which part.
        shard_num: Of how many.
        plan: What all parts must have in common.
        corpus: `CorpusPart.digest` of the corpus, which they must have in common too.
        corpus_documents: Usable documents of the whole corpus.
        build_id: That of the part's manifest; None if no document fell to the part.
        documents: Documents of the part.
        chunks: Passages of the part.
        report: `BuildReport.to_dict()`; skipped entries are those of the whole corpus.
    """

    form = "retrieval_index.part"
    form_version = 1
    noun = "record of a part"

    shard_id: int = Field(ge=0)
    shard_num: int = Field(ge=1)
    plan: Plan
    corpus: str
    corpus_documents: int = Field(ge=0)
    build_id: str | None
    documents: int = Field(ge=0)
    chunks: int = Field(ge=0)
    report: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> PartRecord:
        share = len(range(self.shard_id, self.corpus_documents, self.shard_num))
        if self.documents != share or (self.build_id is None) != (share == 0):
            raise ValueError(f"{share} documents fall to this part, not {self.documents}")
        try:
            BuildReport.from_dict(self.report)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"`report` is malformed ({error})") from error
        return self


def read_record(path: Path) -> PartRecord | None:
    """Returns the record of a part, or None if there is none.

    Raises:
        CorruptIndexError: If the file is damaged or something else.
        NewerFormatError: If a newer version of this package wrote it.
    """
    parent = path.with_suffix("").name
    remedy = f"Remove it and the folder {parent}, and build this part again."
    try:
        return PartRecord.read(path, remedy)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise CorruptIndexError(f"{path} is damaged: {error}. {remedy}") from error


def finished_part(place: Place) -> PartRecord | None:
    """Returns the record of a part that is complete, otherwise None.

    Raises:
        IndexExistsError: If something else lies there.
        CorruptIndexError: If record or manifest is damaged.
    """
    record = read_record(place.record)
    if record is not None and record.build_id is None:
        return record
    if not place.folder.exists():
        return None  # the record alone is written a moment before
    manifest = place.folder / MANIFEST_NAME
    found = read_manifest(place.folder).build_id if manifest.exists() else None
    if record is None or found != record.build_id:
        raise IndexExistsError(
            f"{place.folder} is an index that `build_part` did not make, or that was changed "
            f"since. Remove it and {place.record.name}, and build this part again."
        )
    return record


SHOWN = 20


def agreed_records(places: Sequence[Place]) -> list[PartRecord]:
    """Returns the records of all parts, after comparing them.

    Raises:
        IndexNotFoundError: If parts are missing or not finished.
        ArgumentError: If two were built with different options or encoders.
        CorpusError: If two were built from different corpora.
        CorruptIndexError: If a record is damaged, or that of another part.
        IndexExistsError: If something else lies where a part should.
    """
    found = [finished_part(place) for place in places]
    _check_complete(places, found)
    records = [record for record in found if record is not None]
    first = records[0]
    for place, record in zip(places, records, strict=True):
        if (record.shard_id, record.shard_num) != (place.shard_id, place.shard_num):
            raise CorruptIndexError(
                f"{place.record} is the record of part {record.shard_id} of {record.shard_num}. "
                "Give the files of the parts the names they had."
            )
        differences = first.plan.differences(record.plan)
        if differences:
            raise ArgumentError(
                f"The parts must be built alike; {places[0].folder} and {place.folder} differ: "
                f"{differences}. {_again(place)}"
            )
        if record.corpus != first.corpus:
            raise CorpusError(
                "`corpus` must be the same for all parts: "
                f"{places[0].folder} was built from {first.corpus_documents} documents and "
                f"{place.folder} from {record.corpus_documents} others, or others in order or "
                f"content. {_again(place)}"
            )
    return records


def _check_complete(places: Sequence[Place], found: Sequence[PartRecord | None]) -> None:
    missing = [place for place, record in zip(places, found, strict=True) if record is None]
    if not missing:
        return
    begun = [str(place.shard_id) for place in missing if place.workspace.exists()]
    rest = [str(place.shard_id) for place in missing if not place.workspace.exists()]
    said = []
    if rest:
        said.append(f"missing: {_shown(rest)}")
    if begun:
        said.append(f"begun but not finished: {_shown(begun)}")
    raise IndexNotFoundError(
        f"{places[0].record.parent} must hold all {len(places)} parts; {'; '.join(said)}. Run "
        "`retrieval_index.distributed.build_part` for each `shard_id` that is named here."
    )


def _shown(numbers: Sequence[str]) -> str:
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return ", ".join(numbers[:SHOWN]) + more


def _again(place: Place) -> str:
    return (
        f"Remove {place.folder.name} and {place.record.name} where they are wrong, and build those "
        "parts again."
    )
