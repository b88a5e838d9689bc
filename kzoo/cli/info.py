"""`kzoo info`: the card of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.parameters import Json


def info(
    name: Annotated[str, typer.Argument(help="A recipe of the zoo, or a .yaml recipe.")],
    as_json: Json = False,
) -> None:
    """Show the card of a recipe: license, source, checksums, parameters, training defaults."""
    from kzoo.zoo.catalogue import info as card_of

    card = card_of(name)
    if as_json:
        return console.show_json(card)
    console.show(console.facts(_rows(card), title=card["name"]))
    if not card["installed"] and card.get("install"):
        console.show(f"The weights are not installed. Run: {card['install']}")


def _rows(card: dict[str, Any]) -> dict[str, Any]:
    per_class = card["head_parameters_per_class"]
    head = f" + {per_class:,} for each class" if per_class else ""
    known = card["total_parameters"] is not None
    trunk = card["trunk"] if card["layers"] is None else f"{card['trunk']}, blocks {card['layers']}"
    return {
        "summary": card["summary"],
        "task": card["task"],
        "backbone": card["backbone"],
        "trunk": trunk,
        "adapter": card["adapter"],
        "head": "\n".join(_head(head) for head in card["heads"]),
        "longest input": f"{card['max_tokens']} tokens" if card.get("max_tokens") else None,
        "parameters": f"{card['total_parameters']:,}{head}" if known else None,
        "trainable": f"{card['trainable_parameters']:,}{head}" if known else None,
        "training": _training(card),
        "license": card["license"] or "that of the weights",
        "source": card["source"],
        "revision": card["revision"],
        "sha256": "\n".join(f"{file}: {value}" for file, value in card["sha256"].items()) or None,
        "lineage": "\n".join(card["lineage"]) or None,
        "installed": card["installed"] or ("no" if known else None),
    }


def _head(head: dict[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in head.items() if key != "kind")
    return f"{head['kind']}, {options}" if options else str(head["kind"])


def _training(card: dict[str, Any]) -> str | None:
    if card["task"] == "embedding":
        return None
    given = {key: value for key, value in card["training"].items() if value is not False}
    return ", ".join(f"{key} {value:g}" for key, value in given.items())
