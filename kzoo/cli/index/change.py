"""`kzoo index add`, `update`, `delete`, `compact`, `merge`: an index after its build."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json, Overwrite


def add(
    path: i.Folder,
    corpus: i.Corpus,
    encoder: i.Encoder = None,
    fields: i.Fields = None,
    duplicates: i.Duplicates = None,
    require_ids: i.RequireIds = False,
    encoding: i.Encoding = None,
    encoding_errors: i.EncodingErrors = None,
    batch_size: i.BatchSize = None,
    shard_size: i.ShardSize = None,
    strict: i.Strict = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Add documents. Those whose id is there already are passed over and counted."""
    _extend("add", **locals())


def update(
    path: i.Folder,
    corpus: i.Corpus,
    encoder: i.Encoder = None,
    fields: i.Fields = None,
    duplicates: i.Duplicates = None,
    require_ids: i.RequireIds = False,
    encoding: i.Encoding = None,
    encoding_errors: i.EncodingErrors = None,
    batch_size: i.BatchSize = None,
    shard_size: i.ShardSize = None,
    strict: i.Strict = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Add documents and replace those with the same id; unchanged ones cost nothing."""
    _extend("update", **locals())


def _extend(
    how: str,
    path: Path,
    corpus: list[str],
    encoder: str | None,
    fields: list[str] | None,
    require_ids: bool,
    strict: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    import retrieval_index
    from kzoo.cli.index.facts import account
    from kzoo.cli.index.parameters import find_corpus, parse_fields

    with i.going_on("the index is as it was; the same command continues"):
        report = getattr(retrieval_index, how)(
            path,
            find_corpus(corpus),
            encoder,
            require_ids=require_ids,
            strict=strict,
            progress=not quiet,
            **i.given(fields=parse_fields(fields), **options),
        )
    if as_json:
        return console.show_json(report.to_dict())
    console.show(console.facts(account(report), title=str(path)))
    console.show(_now(path) if report.documents else "Nothing new: the index is as it was.")


def delete(
    path: i.Folder,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of documents.")
    ] = None,
    ids_from: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ids from a file, one a line.")
    ] = None,
    where: i.Where = None,
    missing: Annotated[
        str | None, typer.Option(help="An id that is not there: error or ignore. [error]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete documents: by ids, or all that fit a filter. In a terminal it asks first."""
    import retrieval_index
    from kzoo.cli.index.parameters import parse_where

    wanted = [*(ids or ()), *_ids_in(ids_from)] if ids or ids_from else None
    condition = parse_where(where)
    if (wanted is None) == (condition is None):
        raise typer.BadParameter("give ids (or --ids-from), or --where, and not both")
    if condition is not None and missing is not None:
        raise typer.BadParameter("--missing is about ids; it has no meaning with --where")
    if not yes and sys.stdin.isatty() and not _agreed(path, wanted, condition):
        console.say("nothing deleted")
        return
    with i.going_on(i.UNCHANGED):
        count = retrieval_index.delete(path, wanted, where=condition, **i.given(missing=missing))
    if as_json:
        return console.show_json({"deleted": count})
    what = f"{count:,} {'document' if count == 1 else 'documents'} deleted."
    console.show(f"{what} {_now(path)}" if count else f"{what} The index is as it was.")
    if count:
        console.show(f"Their text leaves the files with: kzoo index compact {path}")


def compact(path: i.Folder, quiet: i.Quiet = False, as_json: Json = False) -> None:
    """Rewrite an index as one segment, without what was deleted. Encodes nothing."""
    import retrieval_index

    before = _info(path)["size_bytes"]
    with i.going_on(i.UNCHANGED):
        done = retrieval_index.compact(path, progress=not quiet)
    after = _info(path)["size_bytes"]
    if as_json:
        return console.show_json({"compacted": done, "bytes_before": before, "bytes_after": after})
    if not done:
        return console.show("Nothing to do: one segment, and nothing deleted.")
    sizes = f"{console.megabytes(before)} before, {console.megabytes(after)} now"
    console.show(f"{sizes}. {_now(path)}")


def merge(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Indexes, in the order of their documents."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new index.")],
    overwrite: Overwrite = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Make one index out of several, which stay as they are. Encodes nothing."""
    import retrieval_index
    from kzoo.cli.index.facts import account, vectors

    with i.going_on("nothing kept; the same command starts again"):
        made = retrieval_index.merge(paths, out, overwrite=overwrite, progress=not quiet)
    with made:
        report, found = made.report, made.info()
    if as_json:
        return console.show_json({"report": report.to_dict(), "index": found})
    facts = {
        **account(report),
        "taken over": None,  # all of it
        **vectors(found["segments"][0]["vectors"]),
        "size": console.megabytes(found["size_bytes"]),
    }
    console.show(console.facts(facts, title=str(out)))


def _info(path: Path) -> dict[str, Any]:
    import retrieval_index

    with retrieval_index.open(path, checksums=False) as opened:
        return opened.info()


def _now(path: Path) -> str:
    found = _info(path)
    parts = len(found["segments"])
    return (
        f"Version {found['version']}: {found['documents']:,} documents, "
        f"{found['chunks']:,} passages in {parts} {'segment' if parts == 1 else 'segments'}."
    )


def _ids_in(file: Path | None) -> list[str]:
    if file is None:
        return []
    from kzoo.errors import InputError

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--ids-from {str(file)!r} is not UTF-8: {error}.") from error
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise InputError(f"--ids-from {str(file)!r} holds no id.")
    return found


def _agreed(path: Path, ids: list[str] | None, where: dict[str, Any] | None) -> bool:
    import retrieval_index

    with retrieval_index.open(path, checksums=False) as opened:
        if ids is not None:
            count = sum(opened.document(identifier) is not None for identifier in set(ids))
        else:
            assert where is not None
            fits = retrieval_index.parse_filter(where).matches
            count = sum(fits(d.metadata, d.id, d.title) for d in opened.documents())
    what = f"{count:,} {'document' if count == 1 else 'documents'}"
    return typer.confirm(f"Delete {what} of {path}?", err=True)
