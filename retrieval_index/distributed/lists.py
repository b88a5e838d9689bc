"""Inverted lists that are trained once, filled in several places, and joined."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.distributed.agreement import agreed_records
from retrieval_index.distributed.interleaving import Interleaved
from retrieval_index.distributed.lists_record import (
    check_trained,
    filled_file,
    lists_record,
    record_file,
    trained_file,
    write_lists_record,
)
from retrieval_index.distributed.open_files import check_open_files
from retrieval_index.distributed.places import Place, all_places, check_shard_num
from retrieval_index.distributed.plan import index_options
from retrieval_index.distributed.record import PartRecord
from retrieval_index.errors import ArgumentError, CorpusError, IndexNotFoundError
from retrieval_index.progress import BuildProgress
from retrieval_index.searching.opening import open_index
from retrieval_index.storage.lock import exclusive
from retrieval_index.storage.workspace import as_folder
from retrieval_index.vectors.choice import IndexChoice, choose_index
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.filling import train_empty, write_index
from retrieval_index.vectors.library import load_faiss
from retrieval_index.vectors.merging import add_part, join_indexes

if TYPE_CHECKING:
    from retrieval_index.searching.segment import Segment


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


@contextmanager
def opened(places: Sequence[Place], records: Sequence[PartRecord]) -> Iterator[list[Segment]]:
    """Opens all parts that have documents, and compares their checksums.

    Raises:
        ArgumentError: If the system does not let this process open so many files.
        CorruptIndexError: If one is damaged.
    """
    check_open_files(len(places))
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(open_index(place.folder)))._open().segments[0]
            for place, record in zip(places, records, strict=True)
            if record.documents
        ]
