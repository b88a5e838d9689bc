"""Five questions of a newcomer, answered from the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import retrieval_index
from kzoo.datasets import corpus
from kzoo.demo.data import DATASET
from kzoo.demo.results import Answer, Hit

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
