"""One bm25s index on disk, opened without trusting it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import CorruptIndexError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The names that bm25s gives its files, and one of our own.
DATA = "data.csc.index.npy"
INDICES = "indices.csc.index.npy"
INDPTR = "indptr.csc.index.npy"
VOCABULARY = "vocab.index.json"
PARAMETERS = "params.index.json"
LENGTHS = "lengths.npy"  # terms in each passage, which bm25s does not keep
FILES = (DATA, INDICES, INDPTR, VOCABULARY, PARAMETERS, LENGTHS)


class Block:
    """A matrix of BM25 scores, terms x passages, by columns of one term each (CSC).

    The score bm25s stores is idf x tf / (k1 (1 - b + b length / average) + tf), with the idf and
    the average length of the block. Arrays are mapped, not read. What is cheap to check is checked
    here; each column when it is used; everything by `verify`. Nothing is ever unpickled.

    Args:
        folder: Where the files of `FILES` lie.
        passages: How many passages the block must hold.
        k1: The k1 of BM25 that the scores were made with.
        b: Its b.

    Raises:
        CorruptIndexError: If a file is missing, damaged, foreign, or does not fit the others.
    """

    def __init__(self, folder: Path, passages: int, k1: float, b: float) -> None:
        self.folder = folder
        self.passages = passages
        self._k1 = k1
        self._b = b
        self._vocabulary = self._read_vocabulary()
        self._indptr = self._read_array(INDPTR, "int64", len(self._vocabulary) + 1)
        self._check_indptr()
        self._data = self._read_array(DATA, "float32", int(self._indptr[-1]))
        self._indices = self._read_array(INDICES, "int32", int(self._indptr[-1]))
        self._lengths = self._read_array(LENGTHS, "int32", passages)
        if passages and int(self._lengths.min()) < 0:
            raise self._damage(LENGTHS, "a passage has a negative length")
        self.tokens = int(self._lengths.sum(dtype="int64"))
        if self.tokens < len(self._data):
            raise self._damage(LENGTHS, "the passages are shorter than their terms are many")

    def frequency(self, term: str) -> int:
        """Returns how many passages hold the term."""
        column = self._vocabulary.get(term)
        if column is None:
            return 0
        return int(self._indptr[column + 1] - self._indptr[column])

    def column(self, term: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Returns which passages hold a term, and bm25s' score of each: right for a lone block.

        Args:
            term: A term of the block.

        Returns:
            Numbers of passages within the block, int32 (n,), and their scores, float32 (n,).

        Raises:
            CorruptIndexError: If a number or a score of the column is out of range.
        """
        column = self._vocabulary[term]
        rows = slice(int(self._indptr[column]), int(self._indptr[column + 1]))
        numbers, scores = self._indices[rows], self._data[rows]
        self._check_column(numbers, scores)
        return numbers, scores

    def rescored_column(
        self, term: str, idf: float, average: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Returns which passages hold a term, and its score as part of a larger collection.

        The share of bm25s' score in the idf of the block is s = tf / (K + tf), so tf is
        K s / (1 - s): a whole number, and rounding to it takes away what float32 lost. Equal
        passages get equal scores by that, in whichever block they stand.

        Args:
            term: A term of the block.
            idf: Its inverse document frequency in the collection.
            average: Average length of the collection's passages, in terms.

        Returns:
            As `column`.

        Raises:
            CorruptIndexError: As `column`.
        """
        import numpy as np

        numbers, scores = self.column(term)
        if self._k1 == 0:  # s is 1 whatever tf is
            return numbers, np.full(len(numbers), idf, dtype=np.float32)
        share = scores / np.float32(lucene_idf(len(numbers), self.passages))
        lengths = self._lengths[numbers].astype(np.float32)
        fixed = np.float32(self._k1 * (1 - self._b))
        slope = self._k1 * self._b
        old = fixed + np.float32(slope * self.passages / self.tokens) * lengths
        new = fixed + np.float32(slope / average) * lengths
        counts = np.rint(old * share / np.maximum(1 - share, np.float32(1e-7)))
        np.maximum(counts, np.float32(1), out=counts)
        return numbers, np.float32(idf) * (counts / (new + counts))

    def verify(self) -> None:
        """Reads every file to its end.

        Raises:
            CorruptIndexError: If a column is out of range or not in ascending order.
        """
        import numpy as np

        for column in range(len(self._vocabulary)):
            rows = slice(int(self._indptr[column]), int(self._indptr[column + 1]))
            numbers = self._indices[rows]
            self._check_column(numbers, self._data[rows])
            if np.any(np.diff(numbers) <= 0):
                raise self._damage(INDICES, "the passages of a term are not in ascending order")

    def _check_column(
        self, numbers: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]
    ) -> None:
        if not len(numbers):
            raise self._damage(INDPTR, "a term stands in no passage")
        if int(numbers.view("uint32").max()) >= self.passages:  # a negative number is a huge one
            raise self._damage(INDICES, f"a passage is outside 0 to {self.passages - 1}")
        idf = lucene_idf(len(numbers), self.passages)
        # Written so that NaN is refused. BM25 gives less than the idf, but for rounding.
        if not (float(scores.min()) > 0 and float(scores.max()) <= idf * 1.0001):
            raise self._damage(DATA, "a score is outside what BM25 can give")

    def _check_indptr(self) -> None:
        import numpy as np

        if int(self._indptr[0]) != 0:
            raise self._damage(INDPTR, "it does not begin with 0")
        if np.any(self._indptr[1:] <= self._indptr[:-1]):  # a difference could overflow
            raise self._damage(INDPTR, "a term stands in no passage")

    def _read_array(self, name: str, dtype: str, count: int) -> npt.NDArray[Any]:
        import numpy as np

        path = self.folder / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise self._damage(name, "it is missing") from error
        except Exception as error:  # numpy's reader of foreign bytes fails in a dozen ways
            raise self._damage(name, f"it is no .npy file of plain numbers ({error})") from error
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype):
            raise self._damage(name, f"it must hold {dtype}")
        if array.shape != (count,):
            raise self._damage(name, f"its shape must be ({count},), and is {array.shape}")
        return array.view(np.ndarray)  # still mapped, but a slice costs a tenth of a memmap's

    def _read_vocabulary(self) -> dict[str, int]:
        import numpy as np

        vocabulary = read_json(self.folder / VOCABULARY)
        if not isinstance(vocabulary, dict) or not all(
            type(number) is int and 0 <= number < len(vocabulary) for number in vocabulary.values()
        ):
            raise self._damage(VOCABULARY, "it must map each term to the number of its column")
        seen = np.zeros(len(vocabulary), dtype=bool)
        seen[list(vocabulary.values())] = True
        if not seen.all():
            raise self._damage(VOCABULARY, "two terms have one column")
        return vocabulary

    def _damage(self, name: str, what: str) -> CorruptIndexError:
        return CorruptIndexError(f"{self.folder / name} is damaged or foreign: {what}.")


def lucene_idf(frequency: int, passages: int) -> float:
    """Returns ln(1 + (N - n + 0.5) / (n + 0.5)) for n of N passages, Lucene's and bm25s' idf."""
    return math.log(1 + (passages - frequency + 0.5) / (frequency + 0.5))


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, or raises `CorruptIndexError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptIndexError(f"{path} is missing or no JSON ({error}).") from error
