"""The lexical part of a segment, opened for search."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, CorruptIndexError, NewerFormatError
from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.block import Block, read_json
from retrieval_index.lexical.writer import FORMAT, SETTINGS, block_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LexicalSegment:
    """What a `LexicalWriter` wrote; its arrays are mapped into memory, not read.

    Args:
        folder: The folder of the writer.
        count: Passages that the segment must hold.

    Attributes:
        analyzer: A new analyzer like the writer's.
        k1, b: The parameters of BM25 that the scores were made with.
        blocks: One `Block` for each part, in the order of the passages.
        passages: `count`.
        tokens: Terms in all passages, repetitions included.

    Raises:
        CorruptIndexError: If a file is missing, damaged or foreign, or the count another.
        NewerFormatError: If a newer version of this package wrote the folder.
    """

    def __init__(self, folder: Path | str, count: int) -> None:
        self.folder = Path(folder)
        settings = _read_settings(self.folder / SETTINGS)
        self.analyzer: Analyzer = settings["analyzer"]
        self.k1: float = settings["k1"]
        self.b: float = settings["b"]
        self.passages = sum(settings["blocks"])
        if self.passages != count:
            raise CorruptIndexError(
                f"{self.folder / SETTINGS} counts {self.passages} passages where {count} belong."
            )
        self.blocks = [
            Block(self.folder / block_name(number), passages, self.k1, self.b)
            for number, passages in enumerate(settings["blocks"])
        ]
        self.tokens = sum(block.tokens for block in self.blocks)

    def frequencies(self, terms: Iterable[str]) -> npt.NDArray[np.int64]:
        """Returns how many passages hold each term, int64 of shape (terms,)."""
        import numpy as np

        counts = [sum(block.frequency(term) for block in self.blocks) for term in terms]
        return np.array(counts, dtype=np.int64)

    def verify(self) -> None:
        """Reads all postings to their end and checks them.

        Raises:
            CorruptIndexError: If one is damaged.
        """
        for block in self.blocks:
            block.verify()


def _read_settings(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise CorruptIndexError(f"{path} is damaged or foreign: it has no format number.")
    if data["format"] > FORMAT:
        raise NewerFormatError(
            f"{path} has format {data['format']}, and this version reads up to {FORMAT}. "
            "Run: pip install --upgrade kzoo"
        )
    blocks = data.get("blocks")
    if not isinstance(blocks, list) or not all(type(n) is int and 0 < n < 2**31 for n in blocks):
        raise CorruptIndexError(f"{path} is damaged: `blocks` must list counts of passages.")
    for name, most in (("k1", float("inf")), ("b", 1.0)):
        value = data.get(name)
        if not isinstance(value, float) or not 0 <= value <= most or value == float("inf"):
            raise CorruptIndexError(f"{path} is damaged: `{name}` is {value!r}.")
    try:
        return {**data, "analyzer": Analyzer.from_settings(data.get("analyzer"))}
    except ArgumentError as error:
        raise CorruptIndexError(f"{path} is damaged: {error}") from error
