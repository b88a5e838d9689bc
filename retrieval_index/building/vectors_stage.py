"""The stage that makes the FAISS index of a segment and measures it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.options import IndexOptions
from retrieval_index.storage.document_store import DocumentStore
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS, RAW, VECTORS, VectorsEntry
from retrieval_index.storage.segment_files import NAMES, ROW_BYTES, read_chunk_table
from retrieval_index.vectors.choice import IndexChoice, choose_index
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.filling import write_vectors
from retrieval_index.vectors.query_samples import sample_queries
from retrieval_index.vectors.reading import faiss_version, read_raw, read_vectors, write_raw
from retrieval_index.vectors.searcher import VectorSearcher
from retrieval_index.vectors.tuning import ExactNeighbours, Tuning, tune

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

QUERIES = 200
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")
MIN_CHARACTERS, MAX_CHARACTERS = 20, 200


def sample_sentences(folder: Path, count: int, seed: int) -> list[str]:
    """Returns one sentence each of up to `count` passages, drawn by a seed.

    Args:
        folder: Folder of a segment with finished documents and passages.
        count: Sentences wanted at most.
        seed: Chooses passages and sentences.

    Returns:
        Sentences of 20 to 200 characters where a passage has one, otherwise its beginning.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    table = folder / NAMES[CHUNKS]
    store = DocumentStore(folder / NAMES[DOCUMENTS])
    try:
        rows = read_chunk_table(table, table.stat().st_size // ROW_BYTES, store.count())
        chosen = np.sort(rng.choice(len(rows), size=min(count, len(rows)), replace=False))
        found = []
        for number, start, end, _ in rows[chosen].tolist():
            # One document at a time: two hundred long ones would be much to hold.
            document = store.documents([number])[number]
            found.append(_sentence(document.text[start:end] or document.title, rng.random()))
        return [sentence for sentence in found if sentence]
    finally:
        store.close()


def _sentence(text: str, place: float) -> str:
    sentences = [match.group().strip() for match in _SENTENCE.finditer(text)]
    usable = [s for s in sentences if MIN_CHARACTERS <= len(s) <= MAX_CHARACTERS]
    if usable:
        return usable[int(place * len(usable))]
    return text.strip()[:MAX_CHARACTERS].strip()


NEIGHBOURS = 10


class VectorsStage:
    """Chooses, fills, writes and measures the FAISS index of a segment.

    Args:
        options: What is wanted of it.
        dimension: Length of a vector.
        count: Number of vectors.
        folder: Where its files go.
        strict: Whether a factory string that needs more vectors than there are is an error.
            Otherwise, as for the few that are added to an index or left of it, one is chosen.
    """

    def __init__(
        self,
        options: IndexOptions,
        dimension: int,
        count: int,
        folder: Path,
        *,
        strict: bool = True,
    ) -> None:
        self._options = options
        self._strict = strict
        self._dimension = dimension
        self._count = count
        self._folder = folder

    def build(
        self, parts: Callable[[], Iterable[Vectors]], say: Callable[[str], None]
    ) -> VectorsEntry:
        """Writes the index.

        Args:
            parts: Returns a fresh iterator over all vectors, in order; called twice or more.
            say: Told what is being done.

        Returns:
            Its entry, not measured yet.
        """
        choice = self.choose()
        write_vectors(
            parts,
            self._count,
            self._dimension,
            choice,
            self._folder / NAMES[VECTORS],
            seed=self._options.seed,
            reproducible=self._options.reproducible,
            progress=lambda stage, done, total: say(f"{stage} {done:,}/{total:,}"),
        )
        if choice.lossy:
            write_raw(parts(), self._dimension, self._folder / NAMES[RAW])
        return self.entry(choice)

    def choose(self) -> IndexChoice:
        """Returns which index it is to be."""
        options = self._options
        factory = options.factory
        if factory is not None and not self._strict:
            family = parse_factory(factory, self._dimension)
            if max(family.least_count, family.lists or 0) > self._count:
                factory = None
        return choose_index(
            self._count,
            self._dimension,
            memory=options.memory,
            latency=options.latency,
            recall=options.recall,
            deletes=options.deletes,
            factory=factory,
        )

    def entry(self, choice: IndexChoice) -> VectorsEntry:
        """Returns the entry of an index of this kind, not measured yet."""
        return VectorsEntry(
            factory=choice.factory,
            metric="inner_product",
            version=faiss_version(),
            lossy=choice.lossy,
            reason=choice.reason,
        )

    def measure(
        self,
        entry: VectorsEntry,
        queries: Callable[[int], Vectors | None],
        say: Callable[[str], None],
    ) -> VectorsEntry:
        """Returns the entry with search parameters for the recall wanted, and what was measured.

        Args:
            entry: Entry of the index that was written.
            queries: Returns vectors of up to n queries, or None: passages are then searched for,
                and do not count as hits of their own.
            say: Told what is being done.
        """
        if not measurable(entry, self._count):
            return entry
        index = read_vectors(
            self._folder / NAMES[VECTORS], entry.factory, self._count, self._dimension
        )
        raw = None
        if entry.lossy:
            raw = read_raw(self._folder / NAMES[RAW], self._count, self._dimension)
        searcher = VectorSearcher(index, entry.factory, raw, entry.parameters)
        say("measuring recall")
        by_time = self._options.latency is not None or not self._options.reproducible
        options = self._options
        return tuned_entry(entry, searcher, queries(QUERIES), options, by_time=by_time)[0]


def measurable(entry: VectorsEntry, count: int) -> bool:
    """Returns whether there is anything to measure: exact indexes and tiny ones have recall 1."""
    return entry.factory != "Flat" and count > 2 * NEIGHBOURS


def tuned_entry(
    entry: VectorsEntry,
    searcher: VectorSearcher,
    queries: Vectors | None,
    options: IndexOptions,
    *,
    by_time: bool,
    given: bool = False,
) -> tuple[VectorsEntry, Tuning]:
    """Returns an entry with the parameters that reach the recall, and what was measured.

    Every second query chooses the parameters, the others measure what they are worth.

    Args:
        entry: Entry of the index.
        searcher: The index.
        queries: Vectors of queries; None: passages are searched for, each without itself, or in a
            graph, moved.
        options: Recall and latency wanted.
        by_time: Whether the fastest parameters are taken. Otherwise those that look at the least,
            which is nearly the same and does not depend on the machine.
        given: Whether the queries are a user's.
    """
    import numpy as np

    exclude: Any = None
    source = "given queries" if given else "sentences of passages"
    if queries is None or len(queries) < 2:
        rng = np.random.default_rng(options.seed)
        count = min(QUERIES, searcher.count)
        exclude = np.sort(rng.choice(searcher.count, size=count, replace=False))
        queries = searcher.rows_at(exclude)
        source = "passages, each without itself"
        if searcher.family.graph is not None:
            queries, exclude = sample_queries(searcher, exclude, options.seed), None
            source = "passages, moved half as far as to the nearest other"
    chosen = tune(
        searcher,
        queries[::2],
        k=NEIGHBOURS,
        recall=options.recall,
        latency=options.latency,
        exclude=None if exclude is None else exclude[::2],
    )
    parameters = dict(chosen.parameters)
    if not by_time:
        parameters = _least_work(chosen, searcher, options.recall)
    others = None if exclude is None else exclude[1::2]
    exact = ExactNeighbours(searcher, queries[1::2], NEIGHBOURS, others)
    held_out = exact.point(searcher.with_parameters(parameters))
    measured = {
        "k": NEIGHBOURS,
        "recall": round(float(held_out.recall), 4),
        "milliseconds": round(float(held_out.milliseconds), 4),
        "batch_milliseconds": round(float(held_out.batch_milliseconds), 4),
        "queries": len(queries[1::2]),
        "query_source": source,
        "target": options.recall,
    }
    return entry.model_copy(update={"parameters": parameters, "measured": measured}), chosen


def _least_work(found: Tuning, searcher: VectorSearcher, recall: float) -> dict[str, int]:
    """Returns the parameters that reach the recall and compare the fewest vectors."""
    probed = searcher.count / (searcher.family.lists or 1)

    def work(point: Any) -> float:
        parameters = point.parameters
        # A vector scored again is read from the disk: it counts like sixteen codes.
        again = 16 * NEIGHBOURS * parameters.get("k_factor", 0)
        return float(parameters.get("efSearch", 0) + again + parameters.get("nprobe", 0) * probed)

    enough = [point for point in found.points if point.recall >= recall]
    best = (
        min(enough, key=work) if enough else max(found.points, key=lambda p: (p.recall, -work(p)))
    )
    return dict(best.parameters)
