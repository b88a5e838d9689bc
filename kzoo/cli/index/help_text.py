"""Help pages: commands in sections, and lists of what the library knows, made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

Rows = list[tuple[str, str]]


class GroupInSections(TyperGroup):
    """Lists its commands under the headings they were registered with (`rich_help_panel`)."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes name and first sentence of each command, all in one column."""
        sections: dict[str, Rows] = {}
        longest = max(map(len, self.commands))
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            sentence = (command.help or "").partition(". ")[0].rstrip(".") + "."
            sections.setdefault(heading, []).append((name.ljust(longest), sentence))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


class CommandWithKinds(TyperCommand):
    """Ends its help with what its options can name, asked of the library itself."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the lists that belong to the command."""
        super().format_epilog(ctx, formatter)
        for heading, rows in _LISTS.get(self.name or "", ()):
            with formatter.section(heading):
                formatter.write_dl(rows())


def readable() -> Rows:
    """Kinds of files, with their suffixes and the package they need."""
    from retrieval_index.corpus.formats import readable_kinds

    return [
        (kind, ", ".join(suffixes) + (f" (needs {package})" if package else ""))
        for kind, suffixes, package in readable_kinds()
    ]


def chunkings() -> Rows:
    """Methods of chunking, each with a line on what it does."""
    from retrieval_index.chunking.chunker import methods

    return list(methods().items())


def providers() -> Rows:
    """What may stand before the colon of an encoder's name, with an example."""
    from retrieval_index.encoders.registry import DEFAULT_ENCODER, known_providers

    examples = {
        DEFAULT_ENCODER.partition(":")[0]: f"{DEFAULT_ENCODER} [default]",
        "hashing": "hashing:256; counts words, knows no meaning, needs no weights",
        "precomputed": "precomputed:vectors.npy?ids=ids.txt&query_encoder=...",
        "sentence-transformers": "sentence-transformers:NAME_OR_FOLDER",
    }
    return [(name, examples.get(name, f"{name}:NAME")) for name in known_providers()]


def languages() -> Rows:
    """Languages of the lexical index."""
    from retrieval_index.lexical.languages import LANGUAGES

    return [("--language", ", ".join(LANGUAGES))]


def ways_to_search() -> Rows:
    """Modes of search and methods of fusion."""
    from retrieval_index.fusion import METHODS
    from retrieval_index.searching.hybrid import MODES

    return [("--mode", ", ".join(MODES)), ("--fusion", ", ".join(METHODS))]


def metrics() -> Rows:
    """Metrics, and those that are computed by default."""
    from retrieval_index.evaluation.metrics import DEFAULT_METRICS

    spelled = "nDCG@K, RR@K, AP, R@K, P@K, Success@K, or as trec_eval writes them"
    return [("--metrics", spelled), ("default", ", ".join(DEFAULT_METRICS))]


_CORPUS = (("Files that can be read (each also as .gz or .zst), alone or in folders", readable),)
_LISTS: dict[str, Iterable[tuple[str, Callable[[], Rows]]]] = {
    "build": (
        *_CORPUS,
        ("--chunking", chunkings),
        ("--encoder", providers),
        ("Languages", languages),
    ),
    "add": _CORPUS,
    "update": _CORPUS,
    "search": (("Known here", ways_to_search),),
    "evaluate": (("Known here", ways_to_search), ("Metrics", metrics)),
}
