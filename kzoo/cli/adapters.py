"""`kzoo adapters`: look at adapter folders, and convert them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.parameters import Json

adapters = typer.Typer(
    help="Look at folders of adapters (of kzoo, HF PEFT, AdapterHub), and convert them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="Folder of an adapter.")]
Family = Annotated[
    str | None, typer.Option(help="Family of the trunk, such as bert. [from the file]")
]


@adapters.command("inspect")
def inspect_adapter(path: Folder, family: Family = None, as_json: Json = False) -> None:
    """Show what a folder holds: method, configuration, places, tensors. Builds no model."""
    from kzoo.interop.conversion import inspect

    found = inspect(path, family)
    if as_json:
        return console.show_json(found)
    _show(found, str(path))


@adapters.command("convert")
def convert_adapter(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder to read.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.")],
    to: Annotated[str, typer.Option(help="kzoo, peft or adapterhub.")],
    family: Family = None,
    as_json: Json = False,
) -> None:
    """Write an adapter folder as one of another library. Needs no weights of the trunk."""
    from kzoo.interop.conversion import convert

    found = convert(source, target, to, family)
    if as_json:
        return console.show_json(found)
    _show(found, str(target))


def _show(found: dict[str, Any], title: str) -> None:
    options = {key: value for key, value in found["config"].items() if key != "method"}
    places = found["places"]
    shown = ", ".join(places[:6]) + (f", ... ({len(places)} in all)" if len(places) > 6 else "")
    console.show(
        console.facts(
            {
                "written by": found["dialect"],
                "name": found["name"],
                "method": " | ".join(found["methods"]),
                "options": ", ".join(f"{key}={value}" for key, value in options.items()),
                "family": found["family"],
                "trained on": found["trained_on"],
                "places": shown or None,
                "parameters": console.count(found["parameters"]),
                "head": f"{found['head']} classes" if found["head"] else None,
            },
            title=title,
        )
    )
    rows = console.table("tensor", "shape", right=("shape",))
    for key, shape in list(found["tensors"].items())[:12]:
        rows.add_row(key, " x ".join(map(str, shape)))
    more = len(found["tensors"]) - 12
    console.show(rows, *([f"... and {more} more (--json shows all)"] if more > 0 else []))
