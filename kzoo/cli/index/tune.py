"""`kzoo index tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json


def tune(
    path: i.Folder,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Queries such as users ask, 100 or more: .txt with one a line, or as for "
            "evaluate. [sentences of the passages]",
        ),
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of the true 10 nearest to be found. [0.95]")
    ] = None,
    latency: Annotated[
        float | None, typer.Option(help="Most milliseconds a query; decides over --recall.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw recall against latency.")
    ] = None,
    seed: i.Seed = None,
    encoder: i.Encoder = None,
    as_json: Json = False,
) -> None:
    """Find the fastest search with enough recall, by measuring, and store how."""
    import retrieval_index
    from kzoo.cli.index.facts import queries_in_words

    with i.going_on(i.UNCHANGED):
        found = retrieval_index.tune(
            path,
            None if queries is None else _texts(queries),
            encoder,
            latency=latency,
            plot=plot,
            **i.given(recall=recall, seed=seed),
        )
    if as_json:
        return console.show_json(found)
    numbers = ("recall@10", "ms")
    rows = console.table("segment", "vectors", *numbers, "parameters", right=numbers)
    for item in found:
        setting = ", ".join(f"{name} {value:g}" for name, value in item["parameters"].items())
        time = item.get("milliseconds")
        rows.add_row(
            item["segment"],
            item["factory"],
            f"{item['recall']:.3f}",
            "-" if time is None else f"{time:.2f}",
            setting or "exact: nothing to tune",
        )
    console.show(rows)
    measured = next((item for item in found if "queries" in item), None)
    if measured is not None:
        source = queries_in_words(measured)
        console.show(f"Stored. Chosen with one half of the queries, measured with {source}.")
    if plot is not None:
        where = f"Picture: {plot}" if plot.exists() else "No picture: there is nothing to tune."
        console.show(where)


def _texts(file: Path) -> list[str]:
    if file.suffix.lower() != ".txt":
        from retrieval_index import read_queries

        return list(read_queries(file).values())
    from kzoo.errors import InputError

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--queries {str(file)!r} is not UTF-8: {error}.") from error
    return [line for line in lines if line.strip()]
