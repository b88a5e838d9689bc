"""`kzoo index snapshot`, `snapshots`, `restore`, `drop-snapshot`: versions kept by name."""

from __future__ import annotations

from typing import Annotated

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the snapshot.")]


def snapshot(path: i.Folder, name: Name) -> None:
    """Keep the current version under a name. Copies nothing."""
    import retrieval_index

    retrieval_index.snapshot(path, name)
    console.show(f"{name} is kept. Search it with: kzoo index search {path} --snapshot {name}")


def snapshots(path: i.Folder, as_json: Json = False) -> None:
    """List the versions that are kept by name."""
    import retrieval_index

    found = retrieval_index.snapshots(path)
    if as_json:
        return console.show_json(found)
    if not found:
        return console.show(f"{path} has no snapshots. Make one: kzoo index snapshot {path} NAME")
    numbers = ("version", "documents", "passages")
    rows = console.table("name", *numbers, "changed", right=numbers, whole=("changed",))
    for item in found:
        figures = (item["version"], item["documents"], item["chunks"])
        rows.add_row(item["name"], *map(console.count, figures), item["changed"])
    console.show(rows)


def restore(path: i.Folder, name: Name) -> None:
    """Make a snapshot the current version again. The snapshot stays."""
    import retrieval_index

    retrieval_index.restore(path, name)
    console.show(f"{path} is again what {name} kept.")


def drop_snapshot(path: i.Folder, name: Name) -> None:
    """Forget a snapshot, and remove files that nothing else needs."""
    import retrieval_index

    retrieval_index.drop_snapshot(path, name)
    console.show(f"{name} is forgotten.")
