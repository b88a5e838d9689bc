"""A part of a corpus, for several machines that share the work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.errors import ArgumentError

if TYPE_CHECKING:
    from retrieval_index.corpus.opening import Corpus


@dataclass(frozen=True, slots=True)
class Slice:
    """Every `number`-th document of a corpus, beginning with the one of the slice's own number.

    Every machine reads the whole corpus and keeps its share: reading is cheap next to encoding,
    and the parts are of equal size whatever the corpus is. Problems are logged by all of them.

    Args:
        corpus: The whole.
        index: Which slice, from 0.
        number: How many slices there are.

    Raises:
        ArgumentError: Unless `0 <= index < number`.
    """

    corpus: Corpus
    index: int
    number: int

    def __post_init__(self) -> None:
        for value in (self.index, self.number):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ArgumentError(
                    f"`shard_id` and `shard_num` must be whole numbers; received: {value!r}."
                )
        if not 0 <= self.index < self.number:
            raise ArgumentError(
                f"`shard_id` must lie in [0, {self.number}), the number of shards; received: "
                f"{self.index}."
            )

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"{self.corpus.description} (part {self.index} of {self.number})"

    def size(self) -> int | None:
        """Returns the size of the whole, all of which is read."""
        return self.corpus.size()

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents of the slice."""
        for place, entry in enumerate(self.corpus.read(log)):
            if place % self.number == self.index:
                yield entry
