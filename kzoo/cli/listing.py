"""`kzoo list`, `kzoo info`, `kzoo methods`: what there is."""

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


def methods(
    family: Annotated[
        list[str] | None, typer.Option("--family", "-f", help="Only this family; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Only this method; repeatable.")
    ] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Say below the table why pairs are refused.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """Show which method works on which family, by trying each pair on a miniature."""
    from rich.progress import Progress

    from kzoo.adapters.tables import listed_methods, support_table
    from kzoo.backbones.families import FAMILIES

    families, names = family or list(FAMILIES), method or list(listed_methods())
    with Progress(console=console.console(stderr=True), transient=True) as progress:
        task = progress.add_task("trying", total=len(families) * len(names))
        cells = support_table(families, names, lambda cell: progress.advance(task))
    if as_json:
        return console.show_json([asdict(cell) for cell in cells])
    works = {(cell.family, cell.method): cell.reason is None for cell in cells}
    if markdown:
        typer.echo(f"| method | {' | '.join(families)} |")
        typer.echo("|---" * (len(families) + 1) + "|")
        for name in names:
            marks = ["yes" if works[f, name] else "-" for f in families]
            typer.echo(f"| `{name}` | {' | '.join(marks)} |")
    else:
        rows = console.table("method", *families)
        for name in names:
            rows.add_row(name, *("yes" if works[f, name] else "-" for f in families))
        tried = sum(works.values())
        console.show(rows, f"{tried} of {len(cells)} pairs work.")
    if reasons:
        for cell in cells:
            if cell.reason is not None:
                typer.echo(f"{cell.method} on {cell.family}: {cell.reason}")


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
    off = (False, None)  # by identity: a rate of 0 is said
    given = {k: v for k, v in card["training"].items() if not any(v is one for one in off)}
    return ", ".join(f"{key} {value:g}" for key, value in given.items())
