"""Passages in, blocks of BM25 scores on disk out."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import (
    ArgumentError,
    ClosedIndexError,
    RetrievalIndexError,
    check_positive,
)
from retrieval_index.lexical.block import FILES, LENGTHS
from retrieval_index.storage.durable import fsync_file, fsync_folder, write_json

if TYPE_CHECKING:
    from retrieval_index.lexical.analyzer import Analyzer

SETTINGS = "lexical.json"
FORMAT = 1
# A block of long passages closes early, so that memory has a bound whatever a passage is: about
# 40 bytes a term while bm25s sorts, less than half a gigabyte.
MAX_BLOCK_TERMS = 10_000_000


class LexicalWriter:
    """Writes the lexical part of a segment; memory stays that of one block.

    Args:
        folder: Where to write; made if missing, and must be empty.
        analyzer: Turns passages into terms.
        k1: Saturation of the term frequency, >= 0. Default 0.9.
        b: Normalisation by length, 0 to 1. Default 0.4. Both are Anserini's, tuned on TREC.
        block_size: Passages in one block at most. Default 100,000.

    Raises:
        ArgumentError: If an argument is outside what it may be, or the folder holds something.
    """

    def __init__(
        self,
        folder: Path | str,
        analyzer: Analyzer,
        *,
        k1: float = 0.9,
        b: float = 0.4,
        block_size: int = 100_000,
    ) -> None:
        self._folder = Path(folder)
        self._analyzer = analyzer
        self._k1 = _checked("k1", k1, float("inf"))
        self._b = _checked("b", b, 1.0)
        self._block_size = check_positive("block_size", block_size)
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.iterdir()):
            raise ArgumentError(f"`folder` {str(self._folder)!r} must be empty.")
        self._blocks: list[int] = []
        self._finished = False
        self._clear()

    def add(self, texts: Iterable[str]) -> None:
        """Adds passages, which are numbered from 0 in the order they come."""
        if self._finished:
            raise ClosedIndexError("This LexicalWriter is finished; passages need a new one.")
        if isinstance(texts, str):
            raise ArgumentError("`texts` must be an iterable of strings; received: one string.")
        vocabulary = self._vocabulary
        for text in texts:
            terms = self._analyzer.tokens(text)
            if len(self._lengths) == self._block_size or (
                self._lengths and len(self._ids) + len(terms) > MAX_BLOCK_TERMS
            ):
                self._close_block()
                vocabulary = self._vocabulary
            self._ids.extend([vocabulary.setdefault(term, len(vocabulary)) for term in terms])
            self._lengths.append(len(terms))

    def finish(self) -> list[str]:
        """Writes what is left and forces all files to the disk.

        Returns:
            The paths of all files, relative to the folder, sorted.
        """
        if self._finished:
            raise ClosedIndexError("This LexicalWriter is finished already.")
        if self._lengths:
            self._close_block()
        self._finished = True
        write_json(
            self._folder / SETTINGS,
            {
                "format": FORMAT,
                "analyzer": self._analyzer.settings(),
                "k1": self._k1,
                "b": self._b,
                "blocks": self._blocks,
                "written_with": {name: _installed(name) for name in ("bm25s", "PyStemmer")},
            },
        )
        names = [f"{block_name(i)}/{file}" for i in range(len(self._blocks)) for file in FILES]
        return sorted([SETTINGS, *names])

    def _clear(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._ids = array("i")
        self._lengths = array("i")

    def _close_block(self) -> None:
        import numpy as np

        folder = self._folder / block_name(len(self._blocks))
        folder.mkdir()
        index = _bm25()(k1=self._k1, b=self._b, method="lucene", dtype="float32", int_dtype="int32")
        with np.errstate(invalid="ignore"):  # passages without a term have an average length of 0
            index.scores = index.build_index_from_ids(
                range(len(self._vocabulary)),
                _Rows(self._ids, self._lengths),
                show_progress=False,
            )
        index.vocab_dict = self._vocabulary
        index.save(folder, show_progress=False, allow_pickle=False)
        lengths = np.frombuffer(self._lengths, dtype=np.int32)
        np.save(folder / LENGTHS, lengths, allow_pickle=False)
        for name in FILES:
            fsync_file(folder / name)
        fsync_folder(folder)
        self._blocks.append(len(self._lengths))
        self._clear()


class _Rows:
    """Passages as bm25s wants them, lists of numbers, of which only one exists at a time."""

    def __init__(self, ids: array[int], lengths: array[int]) -> None:
        self._ids = ids
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for length in self._lengths:
            yield self._ids[start : start + length].tolist()
            start += length


def block_name(number: int) -> str:
    """Returns the folder of a block."""
    return f"block-{number:04d}"


def _checked(name: str, value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ArgumentError(f"`{name}` must be a number from 0 to {most}; received: {value!r}.")
    if value == float("inf"):
        raise ArgumentError(f"`{name}` must be finite; received: {value!r}.")
    return float(value)


def _bm25() -> Any:
    try:
        from bm25s import BM25
    except ImportError as error:
        raise RetrievalIndexError(
            f"A lexical index needs the package bm25s ({error}). Run: pip install bm25s"
        ) from error
    return BM25


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError: not needed by every analyzer
        return None
