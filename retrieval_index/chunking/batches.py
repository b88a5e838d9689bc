"""Documents in batches that neither count nor length lets grow too large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrieval_index.corpus.document import Document

MAX_DOCUMENTS = 64
# The spans of a batch are a tuple for each token: more keeps the garbage collector busy.
MAX_CHARACTERS = 100_000


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yields the documents in order, in lists of 64, fewer where they are long."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        length = len(document.text) + len(document.title)
        if batch and characters + length > MAX_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += length
        if len(batch) == MAX_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
