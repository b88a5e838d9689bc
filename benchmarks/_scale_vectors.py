"""Clustered synthetic vectors and tiny documents, made as they are read, the same for one seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

BLOCK = 4096
# Dimensions in which points differ, and the spread of a cluster next to 1 of the centres. So chosen
# that recall .95 takes 32 of 512 lists at 50,000 rows; MiniLM's vectors of passages took 64.
LATENT = 32
SPREAD = 1.0
NOISE = 0.02  # in every dimension
QUERIES = 1  # stream of random numbers of the queries


class Mixture:
    """Vectors of unit length around `count / 100` centres.

    Row r depends on the seed and r alone, so that any block can be made by any process; only the
    centres are held.

    Args:
        count: Number of rows.
        dimension: Length of a row.
        seed: Decides everything.
    """

    def __init__(self, count: int, dimension: int = 384, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, count, dimension])
        self.count = count
        self.dimension = dimension
        self._seed = seed
        latent = min(LATENT, dimension)
        self._centres = rng.standard_normal((max(1, count // 100), latent), np.float32)
        self._map = rng.standard_normal((latent, dimension), np.float32) / np.float32(
            dimension**0.5
        )
        self._last: tuple[int, Vectors] | None = None

    def block(self, number: int) -> Vectors:
        """Rows from `number * BLOCK` on."""
        if self._last is None or self._last[0] != number:
            rows = min(BLOCK, self.count - number * BLOCK)
            self._last = number, self._drawn(rows, 0, number)
        return self._last[1]

    def blocks(self) -> Iterator[Vectors]:
        """All rows, in order."""
        for number in range(-(-self.count // BLOCK)):
            yield self.block(number)

    def queries(self, count: int) -> Vectors:
        """Other vectors around the same centres."""
        return self._drawn(count, QUERIES, 0)

    def _drawn(self, rows: int, stream: int, number: int) -> Vectors:
        rng = np.random.default_rng([self._seed, self.count, stream, number])
        centres = self._centres[rng.integers(len(self._centres), size=rows)]
        points = centres + SPREAD * rng.standard_normal(centres.shape, np.float32)
        found = points @ self._map
        found += NOISE * rng.standard_normal(found.shape, np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found


class MixtureEncoder:
    """An encoder that knows the vectors of documents by their ids, as precomputed ones are.

    Args:
        mixture: The vectors; the document with the id "r" has row r.
    """

    max_tokens = None

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture
        self.name = "benchmark:mixture"
        self.dimension = mixture.dimension
        self.fingerprint = f"mixture:{mixture.count}:{mixture.dimension}"

    def encode_documents(self, ids: list[str], texts: list[str], /) -> Vectors:
        """The rows of documents."""
        rows = np.array([int(name) for name in ids])
        found = np.empty((len(rows), self.dimension), np.float32)
        for number in np.unique(rows // BLOCK).tolist():
            here = rows // BLOCK == number
            found[here] = self._mixture.block(number)[rows[here] % BLOCK]
        return found

    def encode(self, texts: list[str], /) -> Vectors:
        """There is no model."""
        raise NotImplementedError("This encoder only has vectors of documents.")


class OneNumber(MixtureEncoder):
    """Gives every document the vector (1): what is left of a build is what is not vectors."""

    def __init__(self) -> None:
        self.name = "benchmark:one"
        self.dimension = 1
        self.fingerprint = "one"

    def encode_documents(self, ids: list[str], texts: list[str], /) -> Vectors:
        """Ones."""
        return np.ones((len(ids), 1), np.float32)


def tiny_documents(count: int) -> Iterator[tuple[str, str]]:
    """Ids and texts of a few words."""
    for number in range(count):
        yield str(number), f"Document {number}."


def worded_documents(count: int, words: int = 40, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Ids and texts of `words` words each, of a vocabulary with Zipf's frequencies."""
    rng = np.random.default_rng(seed)
    names = np.array([f"word{number}" for number in range(30_000)])
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        chosen = np.minimum(rng.zipf(1.3, (rows, words)), len(names)) - 1
        for row, text in enumerate(names[chosen]):
            yield str(first + row), " ".join(text) + "."
