"""Queries for measuring an index where nobody gave any."""

from __future__ import annotations

import re
from pathlib import Path

from retrieval_index.storage.chunk_table import ROW_BYTES, read_chunk_table
from retrieval_index.storage.document_store import DocumentStore
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS
from retrieval_index.storage.segment_files import NAMES

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
