"""``python-docs``: the docstrings of the running interpreter's standard library.

The label is the chapter of the library reference that describes the module. The text is the
docstring alone: the qualified name would name the module, and the module decides the label.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from typing import Any

import numpy as np

from kzoo.datasets.card import Card, Skipped
from kzoo.datasets.dataset import Dataset
from kzoo.datasets.python_docs.chapters import CHAPTERS, chapter_of
from kzoo.datasets.python_docs.collect import MIN_CHARACTERS, collect
from kzoo.datasets.registry import register, register_corpus
from kzoo.datasets.split import Split

_LICENSE = "PSF-2.0"
# A shorter docstring is one sentence that could stand in many chapters, so nobody could label it;
# as the answer to a question it is still good.
_MIN_LABELLED = 60


def _source() -> str:
    return f"standard library of {platform.python_implementation()} {platform.python_version()}"


@register(
    "python-docs",
    summary="Standard-library docstrings, labelled with their library-reference chapter",
    license=_LICENSE,
    source="the running interpreter",
)
def python_docs() -> Dataset:
    """Docstrings labelled with their chapter, split 70/10/20 by a hash of the qualified name.

    Returns:
        ``train``, ``validation`` and ``test``; ``ids`` are the qualified names. The contents depend
        on the version of the interpreter, which the card names.

    Raises:
        DatasetError: if the interpreter was installed without its source files.
    """
    collected = collect()
    names = sorted(CHAPTERS)
    ids_of = {chapter: i for i, chapter in enumerate(names)}
    long_enough = [doc for doc in collected.docs if len(doc.text) >= _MIN_LABELLED]
    short = Skipped(
        f"{MIN_CHARACTERS} to {_MIN_LABELLED - 1} characters (in the corpus only)",
        len(collected.docs) - len(long_enough),
    )
    splits = {}
    for name in ("train", "validation", "test"):
        docs = [doc for doc in long_enough if doc.split == name]
        labels = np.array([ids_of[str(chapter_of(doc.module))] for doc in docs], dtype=np.int32)
        splits[name] = Split(
            texts=[doc.text for doc in docs],
            labels=labels,
            ids=[doc.name for doc in docs],
            label_names=names,
        )
    notes = [
        "left out as a whole: private modules, graphical interfaces, program frameworks, "
        "multimedia, cryptography, internationalisation, packaging and superseded modules"
    ]
    if collected.absent:
        notes.append("compiled modules this interpreter lacks: " + ", ".join(collected.absent))
    card = Card(
        description=f"Docstrings of at least {_MIN_LABELLED} characters; the label is the chapter "
        "of the library reference that describes the module.",
        license=_LICENSE,
        source=_source(),
        counts={name: len(split) for name, split in splits.items()},
        skipped=(short, *collected.skipped),
        notes=tuple(notes),
    )
    return Dataset("python-docs", splits, names, card)


@register_corpus(
    "python-docs",
    summary="The same docstrings, short ones too, and the interpreter's help topics",
    license=_LICENSE,
    source="the running interpreter",
)
def python_docs_corpus() -> Iterator[dict[str, Any]]:
    """The docstrings of all splits and the shorter ones, then the topics of ``help("topics")``.

    Yields:
        ``{"_id", "title", "text", "metadata"}``: the qualified name twice for a docstring,
        ``"topic:<name>"`` and the name for a topic; metadata has ``kind`` (``module``, ``class``,
        ``function`` or ``topic``) and, for docstrings, ``module`` and ``chapter``.

    Raises:
        DatasetError: if the interpreter was installed without its source files.
    """
    for doc in collect().docs:
        metadata = {"kind": doc.kind, "module": doc.module, "chapter": chapter_of(doc.module)}
        yield {"_id": doc.name, "title": doc.name, "text": doc.text, "metadata": metadata}
    # A module of one dictionary of strings: importing it runs nothing else.
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name, text in sorted(topics.items()):
        metadata = {"kind": "topic"}
        yield {"_id": f"topic:{name}", "title": name, "text": text.strip(), "metadata": metadata}
