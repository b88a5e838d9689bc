"""The FAISS index of the finished index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retrieval_index.distributed.interleaving import Interleaved
from retrieval_index.distributed.places import Place
from retrieval_index.storage.manifest import VectorsEntry
from retrieval_index.vectors_stage import VectorsStage


def build_vectors(
    parts: Interleaved,
    stage: VectorsStage,
    places: Sequence[Place],
    say: Callable[[str], None],
) -> VectorsEntry:
    """Writes the FAISS index of all passages, and their vectors beside it if it is lossy."""
    return stage.build(parts.vectors, say)
