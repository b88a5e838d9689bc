"""Inverted lists that are trained once, filled in several places, and joined."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval_index.distributed.interleaving import Interleaved, opened
from retrieval_index.distributed.plan import Place, all_places, check_shard_num, index_options
from retrieval_index.distributed.record import PartRecord, agreed_records
from retrieval_index.errors import ArgumentError, CorpusError, CorruptIndexError, IndexNotFoundError
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.durable import FileEntry, write_json
from retrieval_index.storage.workspace import as_folder, exclusive
from retrieval_index.vectors.choice import IndexChoice, choose_index
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.filling import train_empty, write_index
from retrieval_index.vectors.merging import add_part, join_indexes
from retrieval_index.vectors.rows import load_faiss

if TYPE_CHECKING:
    pass


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


def train(out: str | os.PathLike[str], shard_num: int, *, progress: bool = True) -> Path:
    """Trains the inverted lists of an index whose parts are all built; `fill_part` fills them.

    These two steps between `build_part` and `finish` are for very large indexes only: without
    them, `finish` trains and fills the lists itself.

    Args:
        out: As in `finish`.
        shard_num: As in `finish`.
        progress: Whether to show a progress line when standard error is a terminal.

    Returns:
        The file, which all machines that call `fill_part` must see.

    Raises:
        ArgumentError: If the index is of a kind without inverted lists, such as Flat or HNSW.
        IndexNotFoundError, CorpusError, CorruptIndexError: As in `finish`.
    """
    places = list(all_places(as_folder(out, "out"), check_shard_num(shard_num)))
    records = agreed_records(places)
    choice = chosen(records)
    dimension = records[0].plan.encoder.dimension
    if not has_lists(choice, dimension):
        raise ArgumentError(
            f"`out`: the index will be {choice.factory}, which has no inverted lists that could be "
            "filled in several places. Leave out `train` and `fill_part`; `finish` does it all."
        )
    options = index_options(records[0].plan)
    with opened(places, records) as segments, BuildProgress(progress) as shown:
        parts = Interleaved(segments, shard_num, dimension)
        index = train_empty(
            parts.vectors,
            parts.chunks,
            dimension,
            choice,
            seed=options.seed,
            reproducible=options.reproducible,
            progress=lambda stage, done, total: shown.stage(f"{stage} {done:,}/{total:,}"),
        )
        path = trained_file(places[0])
        write_index(index, path)
    write_lists_record(path, records, choice, "")
    return path


def fill_part(
    out: str | os.PathLike[str], *, shard_id: int, shard_num: int, progress: bool = True
) -> Path:
    """Fills a copy of the trained lists with one of `shard_num` equal ranges of all passages.

    Run it for each `shard_id`, anywhere and in any order; all parts must be visible. `finish` joins
    what it makes. A range that was filled already is left as it is.

    Args:
        out: As in `finish`.
        shard_id: Which range, from 0.
        shard_num: As in `finish`.
        progress: Whether to show a progress line when standard error is a terminal.

    Returns:
        The file that was written.

    Raises:
        IndexNotFoundError: If `train` was not called for these parts.
        CorruptIndexError: If a file is damaged.
        BuildLockedError: If another process is filling the same range.
    """
    place = Place(as_folder(out, "out"), shard_id, shard_num)
    places = list(all_places(place.target, shard_num))
    records = agreed_records(places)
    choice = chosen(records)
    trained = check_trained(place, records, choice)
    path = filled_file(place)
    dimension = records[0].plan.encoder.dimension
    busy = path.with_name(f".{path.stem}.building")
    with exclusive(busy):
        if lists_record(path, records, choice, trained) is None:
            with opened(places, records) as segments, BuildProgress(progress) as shown:
                parts = Interleaved(segments, shard_num, dimension)
                first, last = (parts.chunks * i // shard_num for i in (shard_id, shard_id + 1))
                shown.stage(f"adding passages {first:,} to {last:,}")
                vectors = parts.vectors(first, last)
                add_part(trained_file(place), vectors, dimension, choice, path)
            write_lists_record(path, records, choice, trained)
        shutil.rmtree(busy, ignore_errors=True)
    return path


def join_lists(
    places: Sequence[Place], records: Sequence[PartRecord], choice: IndexChoice, path: Path
) -> bool:
    """Writes the FAISS index out of the lists that `fill_part` filled.

    Returns:
        False if there are none, and nothing was written.

    Raises:
        IndexNotFoundError: If only some are there, or those of other parts.
        CorruptIndexError: If one is damaged.
    """
    if not trained_file(places[0]).exists():
        return False
    trained = check_trained(places[0], records, choice)
    found = [lists_record(filled_file(place), records, choice, trained) for place in places]
    missing = [str(i) for i, record in enumerate(found) if record is None]
    if missing:
        raise IndexNotFoundError(
            f"{trained_file(places[0])} was trained, but not filled everywhere; missing: "
            f"{', '.join(missing)}. Run `retrieval_index.distributed.fill_part` for each "
            "`shard_id` that is named here, or remove the file."
        )
    faiss = load_faiss()
    files = (record.file.check(places[0].folder.parent) for record in found if record is not None)
    join_indexes((faiss.read_index(str(file)) for file in files), choice, path)
    return True


def remove_lists(places: Sequence[Place]) -> None:
    """Removes what `train` and `fill_part` made."""
    for path in (trained_file(places[0]), *map(filled_file, places)):
        record_file(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def chosen(records: Sequence[PartRecord]) -> IndexChoice:
    """Returns which FAISS index the finished index has.

    Raises:
        CorpusError: If there is no passage.
    """
    plan = records[0].plan
    count = sum(record.chunks for record in records)
    if not count:
        raise CorpusError("`corpus` must hold at least one document; the parts hold none.")
    options = index_options(plan)
    return choose_index(
        count,
        plan.encoder.dimension,
        memory=options.memory,
        latency=options.latency,
        recall=options.recall,
        deletes=options.deletes,
        factory=options.factory,
    )


def has_lists(choice: IndexChoice, dimension: int) -> bool:
    """Returns whether an index of this kind can be filled in several places."""
    return parse_factory(choice.factory, dimension).lists is not None
