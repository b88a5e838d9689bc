"""`kzoo list`: what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.parameters import Json

_OWN = "kzoo"
_WIDE = 120  # columns
_LONGEST = 40  # of an adapter's configuration in the table


def list_all(
    datasets: Annotated[
        bool, typer.Option("--datasets", help="List datasets and corpora.")
    ] = False,
    methods: Annotated[bool, typer.Option("--methods", help="List adapter methods.")] = False,
    plugins: Annotated[
        bool,
        typer.Option(
            "--plugins", help="List all that is found by name, and the package it comes from."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the recipes of the zoo, or datasets, adapter methods, or what packages plug in."""
    if datasets + methods + plugins > 1:
        raise typer.BadParameter("--datasets, --methods and --plugins exclude each other")
    if datasets:
        _datasets(as_json)
    elif methods:
        _methods(as_json)
    elif plugins:
        _plugins(as_json)
    else:
        _recipes(as_json)


def _recipes(as_json: bool) -> None:
    from kzoo.zoo.catalogue import info, list_recipes

    cards = [info(name) for name in list_recipes()]
    if as_json:
        return console.show_json(cards)
    # A narrow terminal has room for what tells the entries apart; `kzoo info` has the rest.
    wide = console.console().width >= _WIDE
    more = ("adapter", "backbone", "installed", "parameters") if wide else ()
    numbers = ("parameters", "trainable")
    columns = ("name", "task", *more, "trainable", "summary")
    rows = console.table(*columns, right=numbers, whole=("name", "task"))
    for card in cards:
        cells = {
            "adapter": _plain(_short(card["adapter"])),
            "backbone": card["backbone"],
            "parameters": console.count(card["total_parameters"]),
            "installed": "?" if card["total_parameters"] is None else _yes(card["installed"]),
        }
        rows.add_row(
            card["name"],
            card["task"],
            *(cells[column] for column in more),
            console.count(card["trainable_parameters"]),
            card["summary"],
        )
    console.show(rows, "Parameters without the classification head. More: kzoo info NAME")
    missing = sorted({c["install"] for c in cards if not c["installed"] and c.get("install")})
    for command in missing:
        console.show(f"Missing weights come with: {command}")
    for kind, name, package in _registered():
        if package != _OWN:
            console.show(f"From {package}: {name} ({kind})")


def _datasets(as_json: bool) -> None:
    import kzoo.datasets

    entries = kzoo.datasets.list()
    if as_json:
        return console.show_json([asdict(entry) for entry in entries])
    rows = console.table("name", "kind", "license", "source", "summary")
    for entry in entries:
        rows.add_row(entry.name, entry.kind, entry.license, entry.source, entry.summary)
    console.show(rows, "Files, folders and TensorFlow Datasets names work too.")


def _methods(as_json: bool) -> None:
    from kzoo.adapters import parse_adapter
    from kzoo.adapters.tables import listed_methods

    cards: list[dict[str, Any]] = []
    for name, spec in listed_methods().items():
        config = parse_adapter(spec)
        options = config.model_dump(mode="json", exclude={"method"})
        summary = (config.__doc__ or "").strip().split("\n")[0]
        cards.append({"method": name, "options": options, "summary": summary})
    if as_json:
        return console.show_json(cards)
    rows = console.table("method", "options", "summary")
    for card in cards:
        rows.add_row(card["method"], _plain(", ".join(card["options"])), card["summary"])
    console.show(
        rows,
        "Written as METHOD[option=value,...], such as lora[r=8,alpha=16]; several with | between.",
        "Values of the options: kzoo list --methods --json. What works where: kzoo methods.",
    )


def _registered() -> Iterator[tuple[str, str, str]]:
    """Kind, name and package of everything in a registry; imports none of the things."""
    from kzoo.registry import registries

    for registry in registries():
        for name in registry.names():
            yield registry.kind, name, registry.origin(name)


def _plugins(as_json: bool) -> None:
    found = list(_registered())
    if as_json:
        keys = ("kind", "name", "package")
        return console.show_json([dict(zip(keys, row, strict=True)) for row in found])
    grouped: dict[tuple[str, str], list[str]] = {}
    for kind, name, package in found:
        grouped.setdefault((kind, package), []).append(name)
    rows = console.table("kind", "package", "names", whole=("kind", "package"))
    for (kind, package), names in grouped.items():
        rows.add_row(kind, package, _plain(", ".join(names)))
    console.show(rows, "How a package adds to these: docs/extend.md")


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _plain(value: Any) -> Any:
    """Square brackets in a cell are no markup."""
    from rich.text import Text

    return Text("-" if value is None else str(value))
