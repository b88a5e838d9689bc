"""All documents that are kept, and the count of those that are not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from kzoo.datasets.card import Skipped
from kzoo.datasets.python_docs.chapters import chapter_of
from kzoo.datasets.python_docs.compiled import compiled_docs
from kzoo.datasets.python_docs.document import RawDoc
from kzoo.datasets.python_docs.source import source_docs

# Shorter ones ("Return the name.") tell a reader nothing.
MIN_CHARACTERS = 30


@dataclass(frozen=True)
class Collection:
    """The documents of this interpreter.

    Args:
        docs: documents in the order of their names, names and texts unique.
        skipped: what was left out, by reason.
        absent: compiled modules this interpreter does not have.
    """

    docs: tuple[RawDoc, ...]
    skipped: tuple[Skipped, ...]
    absent: tuple[str, ...]


@lru_cache(maxsize=1)
def collect() -> Collection:
    """Read the standard library once a process (about two seconds).

    Returns:
        The documents.

    Raises:
        DatasetError: if this interpreter has no source files.
    """
    compiled, absent = compiled_docs()
    by_name: dict[str, RawDoc] = {}
    same_name = short = 0
    # Compiled first: it is what the interpreter runs when there is a Python twin.
    for doc in [*compiled, *source_docs()]:
        if len(doc.text) < MIN_CHARACTERS:
            short += 1
        elif doc.name in by_name:
            same_name += 1
        else:
            by_name[doc.name] = doc
    by_text: dict[str, list[RawDoc]] = {}
    for name in sorted(by_name):
        by_text.setdefault(by_name[name].key, []).append(by_name[name])
    kept = []
    copies = ambiguous = 0
    for docs in by_text.values():
        # A text that stands in two chapters has no right answer.
        if len({chapter_of(doc.module) for doc in docs}) > 1:
            ambiguous += len(docs)
        else:
            kept.append(docs[0])
            copies += len(docs) - 1
    skipped = (
        Skipped(f"shorter than {MIN_CHARACTERS} characters", short),
        Skipped("same qualified name as another docstring", same_name),
        Skipped("copy of another docstring of its chapter", copies),
        Skipped("the same text in two chapters", ambiguous),
    )
    return Collection(tuple(sorted(kept, key=lambda doc: doc.name)), skipped, tuple(absent))
