"""What is known of an index, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kzoo.cli import console
from kzoo.cli.failures import in_words_of_the_shell


def account(report: Any) -> dict[str, Any]:
    """What a build or an addition read, and what it passed over."""
    return {
        "documents": console.count(report.documents),
        "passages": console.count(report.chunks),
        "taken over": _some(report.reused_chunks, "passages of a run that was broken off"),
        "replaced": _some(report.replaced, "documents"),
        "unchanged": _some(report.unchanged, "documents"),
        "left out": counts(report.skipped),
        "repeated": _some(report.repeated_texts, "documents with a text that came before"),
        "ignored files": counts(report.ignored_files),
    }


def description(found: Mapping[str, Any]) -> dict[str, Any]:
    """Encoder, passages and lexical part of an index, from `Index.info`."""
    encoder, chunker, lexical = found["encoder"], found["chunker"], found["lexical"]
    size = f"{chunker['size']} {chunker['units']}, overlap {chunker['overlap']}"
    whole = chunker["method"] == "none"
    return {
        "encoder": f"{encoder['name']}, {encoder['dimension']} dimensions",
        "cut by": "one passage a document" if whole else f"{chunker['method']}: {size}",
        "words": f"BM25, language {lexical['analyzer']['language']}" if lexical else "not searched",
    }


def vectors(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Kind of FAISS index, why, and what was measured."""
    return {
        "vectors": entry["factory"],
        "why": in_words_of_the_shell(entry["reason"], of_index=True),
        "recall": recall_in_words(entry),
        "latency": latency_in_words(entry),
    }


def recall_in_words(entry: Mapping[str, Any]) -> str:
    """Recall against exact search, and with which queries it was measured."""
    measured = entry["measured"]
    if measured is None:
        return "exact" if entry["factory"] == "Flat" else "not measured: too few passages"
    missed = "" if measured["recall"] >= measured["target"] else ": not reached"
    return (
        f"{measured['recall']:.3f} of the {measured['k']} that exact search finds "
        f"({queries_in_words(measured)}; wanted {measured['target']:g}{missed})"
    )


def queries_in_words(measured: Mapping[str, Any]) -> str:
    """How many queries measured, and what they are."""
    return f"{measured['queries']} {measured['query_source']}"


def latency_in_words(entry: Mapping[str, Any]) -> str | None:
    """Time of a query, and the parameters it was measured with."""
    measured = entry["measured"]
    if measured is None:
        return None
    setting = ", ".join(f"{name} {value:g}" for name, value in entry["parameters"].items())
    return f"{measured['milliseconds']:.2f} ms a query on one core" + (
        f" ({setting})" if setting else ""
    )


def counts(found: Mapping[str, int]) -> str | None:
    """`{"not_json": 2}` as `2 not json`."""
    return ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in found.items()) or None


def _some(number: int, what: str) -> str | None:
    return f"{number:,} {what}" if number else None
