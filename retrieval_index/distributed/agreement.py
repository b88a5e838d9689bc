"""Whether all parts are there and belong together."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval_index.distributed.part_building import finished_part
from retrieval_index.distributed.places import Place
from retrieval_index.distributed.record import PartRecord
from retrieval_index.errors import ArgumentError, CorpusError, CorruptIndexError, IndexNotFoundError

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
