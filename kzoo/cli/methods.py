"""`kzoo methods`: which adapter method works on which family of backbones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from kzoo.cli import console
from kzoo.cli.parameters import Json


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
