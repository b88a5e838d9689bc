"""Any Python iterable, Hugging Face `datasets`, TensorFlow data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.fields import ColumnWatch
from retrieval_index.corpus.meter import counted
from retrieval_index.corpus.options import DEFAULT_OPTIONS, ReadOptions
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document


@dataclass(frozen=True, slots=True)
class ItemsCorpus:
    """Documents, mappings, `(id, text)` pairs or plain texts, taken one at a time.

    A `datasets.Dataset` gives mappings of Python values, a `tf.data.Dataset` (also as NumPy, as
    `tfds.as_numpy` makes it) mappings of tensors and bytes; both become plain data.

    Attributes:
        items: The items.
        options: How mappings become documents.
    """

    items: Iterable[object]
    options: ReadOptions = DEFAULT_OPTIONS

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"items of a {type(self.items).__name__}"

    def size(self) -> int | None:
        """Returns how many items there are, if they say."""
        try:
            return len(self.items)  # type: ignore[arg-type]
        except (TypeError, AttributeError, NotImplementedError):
            return None

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable items go to the log with their number, from 1.

        Raises:
            CorpusError: If a column that is needed is missing (always), or an item is unusable
                (when the log is strict).
        """
        columns = declared_columns(self.items)
        if columns is not None:
            self.options.columns.check_columns(columns, self.description)
        watch = ColumnWatch(self.options.columns, self.description)
        for number, item in enumerate(self.items, start=1):
            where = f"item {number}"
            counted()
            record = _eager(item)
            watch.see(record)
            document = to_document(record, where, log, self.options)
            if document is not None:
                yield Entry(document, where)
        watch.finish()


def declared_columns(items: object) -> list[str] | None:
    """Returns the columns that a data set says it has, or None if it does not say."""
    names = getattr(items, "column_names", None)  # datasets.Dataset; None when streamed
    if isinstance(names, list | tuple):
        return [str(name) for name in names]
    spec = getattr(items, "element_spec", None)  # tf.data.Dataset
    return [str(name) for name in spec] if isinstance(spec, Mapping) else None


def _eager(item: object) -> object:
    """Returns the value of an eager tensor that is a whole item, else the item."""
    numpy = getattr(item, "numpy", None)
    if not callable(numpy):
        return item
    value = numpy()
    return value.item() if getattr(value, "shape", None) == () else value
