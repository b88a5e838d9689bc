"""The documents of the demo, whole or a part of them, and what a newcomer asks of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import retrieval_index
from kzoo.datasets import Dataset, Split, corpus, load
from kzoo.demo.results import Answer, Hit

DATASET = "python-docs"


def load_data(rows: int | None, seed: int) -> tuple[Dataset, str | None]:
    """Loads the data set.

    Args:
        rows: Training rows, drawn so that every class keeps its share; validation and test shrink
            in the same proportion, but not below two rows a class. None for all.
        seed: Decides the rows.

    Returns:
        The data set, and a sentence on what was left out (None where nothing was).
    """
    dataset = load(DATASET)
    whole = len(dataset["train"])
    if rows is None or rows >= whole:
        return dataset, None
    least = 2 * len(dataset.label_names or [])
    splits = {}
    for name, split in dataset.splits.items():
        n = rows if name == "train" else max(least, round(len(split) * rows / whole))
        splits[name] = split.take(min(n, len(split)), seed=seed)
    counts = {name: len(split) for name, split in splits.items()}
    part = replace(dataset, splits=splits, card=replace(dataset.card, counts=counts))
    sizes = ", ".join(
        f"{counts[name]:,} of {len(split):,} {name} rows" for name, split in dataset.splits.items()
    )
    return part, f"Only a part of the documents, every chapter in proportion: {sizes}."


def class_ids(split: Split) -> NDArray[np.int64]:
    """The labels of a split, int64 (n,)."""
    return np.asarray(split.labels, dtype=np.int64)


ENCODER = "kzoo:minilm-encoder"  # by name, so that the index can be opened without kzoo's help
QUESTIONS = (
    "How do I read a csv file row by row?",
    "How can I list all files in a folder?",
    "How do I run another program and read its output?",
    "How do I turn a dictionary into JSON?",
    "What does the with statement do?",
)
_HITS = 3


def documents(
    modules: Iterable[str] | None, longest: int, source: str = DATASET
) -> Iterator[dict[str, Any]]:
    """The corpus, or a part of it.

    Args:
        modules: Modules whose docstrings are kept; help topics are kept too. None keeps all.
        longest: Longer documents are cut to so many characters.
        source: Name of the corpus.
    """
    wanted = None if modules is None else set(modules)
    for document in corpus(source):
        metadata = document["metadata"]
        if wanted is not None and metadata["kind"] != "topic" and metadata["module"] not in wanted:
            continue
        yield {**document, "text": document["text"][:longest]}


def build_index(docs: Iterable[dict[str, Any]], out: Path, progress: bool) -> Any:
    """Builds the index of the documents at `out`, in the place of one that is there."""
    return retrieval_index.build(docs, out, ENCODER, overwrite=True, progress=progress)


def ask(index: Any, questions: Iterable[str] = QUESTIONS) -> list[Answer]:
    """Answers each question with the closest passages, one of a document at most."""
    asked = list(questions)
    return [
        Answer(question, [_hit(passage) for passage in passages])
        for question, passages in zip(
            asked, index.search(asked, k=_HITS, per_document=1), strict=True
        )
    ]


def _hit(passage: Any) -> Hit:
    return Hit(passage.score, passage.document_id, passage.start, passage.end, passage.text)


def snippet(text: str, longest: int) -> str:
    """The beginning of a passage, ended at a word."""
    text = text.strip()
    if len(text) <= longest:
        return text
    cut = text[:longest]
    end = max(cut.rfind(" "), cut.rfind("\n"))
    return (cut[:end].rstrip() if end > 0 else cut) + " …"
