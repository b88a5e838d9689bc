"""The FAISS index of the finished index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from retrieval_index.building.vectors_stage import VectorsStage
from retrieval_index.distributed.interleaving import Interleaved
from retrieval_index.distributed.lists import join_lists
from retrieval_index.distributed.places import Place
from retrieval_index.distributed.record import PartRecord
from retrieval_index.storage.manifest import RAW, VECTORS, VectorsEntry
from retrieval_index.storage.segment_files import NAMES
from retrieval_index.vectors.raw import write_raw


def build_vectors(
    parts: Interleaved,
    stage: VectorsStage,
    folder: Path,
    places: Sequence[Place],
    records: Sequence[PartRecord],
    say: Callable[[str], None],
) -> VectorsEntry:
    """Writes the FAISS index of all passages, and their vectors beside it if it is lossy.

    Args:
        parts: All vectors.
        stage: Chooses, makes and measures the index.
        folder: Where its files go.
        places: Of all parts, where `fill_part` may have left inverted lists.
        records: Of all parts.
        say: Told what is being done.

    Returns:
        Its entry, not measured yet.
    """
    choice = stage.choose()
    say("joining lists")
    if not join_lists(places, records, choice, folder / NAMES[VECTORS]):
        return stage.build(parts.vectors, say)
    if choice.lossy:
        write_raw(parts.vectors(), parts.dimension, folder / NAMES[RAW])
    return stage.entry(choice)
