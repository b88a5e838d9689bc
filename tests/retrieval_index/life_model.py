"""An index in plain Python, which real ones are compared with through their life."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from index_helpers import TableEncoder

import retrieval_index
from retrieval_index import Chunker, Document

K1, B, RRF = 0.9, 0.4, 60
WORDS = [a + b for a in ("ba", "ke", "lo", "mi", "nu") for b in ("dor", "fim", "gul", "pat", "rez")]
SETTINGS = {"chunk_size": 6, "overlap": 2, "language": "none"}
ENCODER = TableEncoder()
CHUNKER = Chunker.for_encoder(ENCODER, SETTINGS["chunk_size"], SETTINGS["overlap"], "tokens")
GROUPS = ("red", "green", "blue")


def document(rng, identifier, words=18):
    """A document of some random words; its passages overlap."""
    text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, words)))
    metadata = {"group": rng.choice(GROUPS), "year": rng.randint(1990, 2020)}
    return Document(identifier, text, rng.choice(("", "Bador kefim")), metadata)


class Model:
    """Segments of [document, alive] in the order in which they were added."""

    def __init__(self, documents=()):
        self.segments = []
        self.extend(documents)
        self.kept = {}

    def extend(self, documents):
        """Adds a segment."""
        if documents:
            self.segments.append([[document, True] for document in documents])

    @property
    def live(self):
        return {d.id: d for segment in self.segments for d, alive in segment if alive}

    def remove(self, ids):
        """Marks documents as deleted; segments without any other are gone."""
        for segment in self.segments:
            for row in segment:
                row[1] = row[1] and row[0].id not in ids
        self.segments = [s for s in self.segments if any(alive for _, alive in s)]

    def add(self, documents):
        """Returns how many documents were taken."""
        live = self.live
        new = {}
        for document in documents:
            if document.id not in live:
                new.setdefault(document.id, document)
        self.extend(list(new.values()))
        return len(new)

    def update(self, documents):
        """Returns how many documents were taken, replaced and unchanged."""
        live = self.live
        new, unchanged = {}, 0
        for document in documents:
            if document.id not in new and live.get(document.id) == document:
                unchanged += 1
            else:
                new.setdefault(document.id, document)
        replaced = [identifier for identifier in new if identifier in live]
        self.remove(replaced)
        self.extend(list(new.values()))
        return len(new), len(replaced), unchanged

    def compact(self):
        documents = list(self.live.values())
        self.segments = []
        self.extend(documents)

    def snapshot(self, name):
        self.kept[name] = [[list(row) for row in segment] for segment in self.segments]

    def restore(self, name):
        self.segments = [[list(row) for row in segment] for segment in self.kept[name]]

    def passages(self):
        """All passages, also deleted ones: (document, chunk, alive)."""
        rows = [row for segment in self.segments for row in segment]
        cut = CHUNKER.split_many(document for document, _ in rows)
        return [
            (document, chunk, alive)
            for (document, chunks), (_, alive) in zip(cut, rows, strict=True)
            for chunk in chunks
        ]

    def dense(self, query):
        """Score of each passage by float64."""
        passages = self.passages()
        vectors = ENCODER.unit([chunk.encoded for _, chunk, _ in passages])
        return (vectors @ ENCODER.unit([query])[0]).tolist()

    def lexical(self, query):
        """BM25 score of each passage (Lucene's idf); statistics count deleted passages."""
        bags = [Counter(chunk.encoded.lower().split()) for _, chunk, _ in self.passages()]
        lengths = [sum(bag.values()) for bag in bags]
        average = sum(lengths) / len(lengths)
        scores = [0.0] * len(bags)
        for term in query.lower().split():
            frequency = sum(term in bag for bag in bags)
            idf = math.log(1 + (len(bags) - frequency + 0.5) / (frequency + 0.5))
            for number, bag in enumerate(bags):
                if bag[term]:
                    norm = K1 * (1 - B + B * lengths[number] / average)
                    scores[number] += idf * bag[term] / (bag[term] + norm)
        return scores


def check(index, model, queries, k=7, exact=True):
    """Compares every kind of search with the model."""
    live = model.live
    assert {d.id: d for d in index.documents()} == live
    passages = model.passages()
    alive = [n for n, (_, _, is_alive) in enumerate(passages) if is_alive]
    assert len(index) == len(alive)
    red = [n for n in alive if passages[n][0].metadata["group"] == "red"]
    late = [n for n in alive if passages[n][0].metadata["year"] >= 2005]
    filters = [(None, alive), ({"group": "red"}, red), ({"year": {"$gte": 2005}}, late)]
    for query in queries:
        if not passages:
            for mode in ("dense", "lexical", "hybrid"):
                assert index.search(query, k, mode=mode) == []
            continue
        for mode, scores in (("dense", model.dense(query)), ("lexical", model.lexical(query))):
            whole = exact or mode == "lexical"
            for where, wanted in filters:
                if mode == "lexical":
                    wanted = [n for n in wanted if scores[n] > 0]
                found = index.search(query, k, mode=mode, where=where)
                same_hits(found, passages, scores, wanted, k, whole)
                found = index.search(query, k, mode=mode, where=where, per_document=1)
                same_hits(found, passages, scores, best_of_each(passages, scores, wanted), k, whole)
        for where, _ in filters:
            same_fusion(index, query, k, where)


def same_hits(found, passages, scores, wanted, k, exact=True):
    """Hits are real ones with their scores, as many as there are, and (exact) the best."""
    best = sorted((scores[n] for n in wanted), reverse=True)[:k]
    assert len(found) == len(best)
    for rank, hit in enumerate(found, start=1):
        document, chunk, alive = passages[hit.chunk_id]
        assert alive and hit.rank == rank
        assert (hit.document_id, hit.title, hit.metadata) == (
            document.id, document.title, document.metadata,
        )  # fmt: skip
        assert (hit.start, hit.end, hit.heading) == (chunk.start, chunk.end, chunk.heading)
        assert hit.text == document.text[chunk.start : chunk.end]
        assert abs(hit.score - scores[hit.chunk_id]) < 1e-5
    if exact:
        np.testing.assert_allclose([hit.score for hit in found], best, atol=1e-5)
    assert len({hit.chunk_id for hit in found}) == len(found)


def best_of_each(passages, scores, wanted):
    """The best passage of each document."""
    best = {}
    for n in wanted:
        name = passages[n][0].id
        if name not in best or scores[n] > scores[best[name]]:
            best[name] = n
    return list(best.values())


def same_fusion(index, query, k, where):
    """Hybrid search is the reciprocal-rank fusion of both rankings, checked before."""
    sums = Counter()
    for mode in ("dense", "lexical"):
        for hit in index.search(query, 100, mode=mode, where=where):
            sums[hit.chunk_id] += 1 / (RRF + hit.rank)
    found = index.search(query, k, mode="hybrid", where=where)
    best = sorted(sums.values(), reverse=True)[:k]
    np.testing.assert_allclose([hit.score for hit in found], best, atol=1e-6)
    for hit in found:
        assert abs(hit.score - sums[hit.chunk_id]) < 1e-6


def opened(path):
    return retrieval_index.open(path, TableEncoder())


def ids(hits):
    """The documents that were found."""
    return [hit.document_id for hit in hits]


def files(path):
    """All files of an index."""
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def search(path, *args, **kwargs):
    """Searches the current version."""
    with opened(path) as index:
        return index.search(*args, **kwargs)
