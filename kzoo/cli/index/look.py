"""`kzoo index info`, `verify`, `export` and the snapshots: what is kept, and taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json


def show_info(
    path: i.Folder,
    verified: Annotated[
        bool, typer.Option("--verify", help="Check everything too, as `kzoo index verify`.")
    ] = False,
    snapshot: i.Snapshot = None,
    no_checksums: i.NoChecksums = False,
    as_json: Json = False,
) -> None:
    """Show what an index is made of."""
    import retrieval_index

    if verified and snapshot is not None:
        raise typer.BadParameter("--verify checks the current version; leave out --snapshot")
    checked = retrieval_index.verify(path) if verified else None
    with retrieval_index.open(path, snapshot=snapshot, checksums=not no_checksums) as opened:
        found: dict[str, Any] = opened.info()
        report = opened.report
    if as_json:
        return console.show_json(found | ({"verified": checked} if checked else {}))
    from kzoo.cli.index.facts import counts, description, vectors

    segments = found["segments"]
    one = segments[0]["vectors"] if len(segments) == 1 else None
    facts = {
        "version": f"{found['version']} ({found['change']}, {found['changed']})",
        "created": found["created"],
        "documents": console.count(found["documents"]),
        "passages": console.count(found["chunks"]),
        "deleted": _deleted(segments),
        "read from": report.corpus,
        "left out": counts(report.skipped),
        **description(found),
        "hybrid": _rule(found["search"]),
        **(vectors(one) if one else {}),
        "snapshots": ", ".join(item["name"] for item in retrieval_index.snapshots(path)) or None,
        "size": console.megabytes(found["size_bytes"]),
        "verified": f"{checked['files']} files, {checked['vectors']} vectors" if checked else None,
    }
    console.show(console.facts(facts, title=found["path"]))
    if one is not None:
        return
    numbers = ("documents", "passages", "deleted")
    rows = console.table("segment", *numbers, "vectors", "recall", right=numbers)
    for segment in segments:
        rows.add_row(
            segment["name"],
            console.count(segment["documents"]),
            console.count(segment["chunks"]),
            console.count(segment["deleted_documents"]),
            segment["vectors"]["factory"],
            _recall(segment["vectors"]),
        )
    console.show(rows)


def verify(path: i.Folder, as_json: Json = False) -> None:
    """Read all of an index, snapshots too, and check sizes, checksums, counts, ids, vectors."""
    import retrieval_index

    found = retrieval_index.verify(path)
    if as_json:
        return console.show_json(found)
    facts = {name: console.count(number) for name, number in found.items() if name != "bytes"}
    facts["size"] = console.megabytes(found["bytes"])
    console.show(console.facts(facts, title=f"{path}: all is well"))


def export(
    path: i.Folder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    format: Annotated[
        str | None, typer.Option("--format", help="npy or parquet (needs pyarrow). [npy]")
    ] = None,
    snapshot: i.Snapshot = None,
    as_json: Json = False,
) -> None:
    """Write vectors, passages and documents to files that other programs read."""
    import retrieval_index

    with i.going_on("nothing written"):
        found = retrieval_index.export(path, out, snapshot=snapshot, **i.given(format=format))
    if as_json:
        return console.show_json(found)
    facts = {
        "documents": console.count(found["documents"]),
        "passages": console.count(found["passages"]),
        "dimension": found["dimension"],
        "files": ", ".join(found["files"]),
    }
    console.show(console.facts(facts, title=str(out)))


def _deleted(segments: list[dict[str, Any]]) -> str | None:
    documents = sum(segment["deleted_documents"] for segment in segments)
    return f"{documents:,} documents, still in the files (see compact)" if documents else None


def _recall(vectors: dict[str, Any]) -> str:
    measured = vectors["measured"]
    if measured is not None:
        return f"{measured['recall']:.3f}"
    return "exact" if vectors["factory"] == "Flat" else "not measured"


def _rule(search: dict[str, Any]) -> str | None:
    if not search:
        return None
    dense, lexical = search["weights"]
    return f"{search['method']}, weights {dense:g} (dense) and {lexical:g} (lexical), tuned"


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
