"""`kzoo index evaluate` and `tune`: how good the answers are, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json

if TYPE_CHECKING:
    from retrieval_index import Comparison, Evaluation


def evaluate(
    path: i.Folder,
    queries: Annotated[
        str, typer.Option(metavar="FILE", help="Queries: .jsonl as of BEIR, or TSV.")
    ],
    qrels: Annotated[
        str, typer.Option(metavar="FILE", help="Judgements as of BEIR, TREC or MTEB.")
    ],
    metrics: Annotated[
        list[str] | None, typer.Option(help="With commas between, or repeated; see below.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", min=1, help="Documents asked for each query. [100]")
    ] = None,
    mode: i.Mode = None,
    where: i.Where = None,
    per_document: i.PerDocument = None,
    fusion: i.Fusion = None,
    weights: i.Weights = None,
    depth: i.Depth = None,
    rerank: i.Rerank = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER", help="Another system: its TREC run, or .json that --save wrote."
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="With --compare: randomization or t. [randomization]")
    ] = None,
    tune_fusion: Annotated[
        bool,
        typer.Option(
            "--tune-fusion", help="Choose and store fusion and weights of hybrid, nothing else."
        ),
    ] = False,
    run_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answers as a TREC run.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the values of each query.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Write all, for a later --compare.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of this system. [kzoo]")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Queries at once; the latency is that of 1. [1]")
    ] = None,
    seed: i.Seed = None,
    snapshot: i.Snapshot = None,
    encoder: i.Encoder = None,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how good the answers are, from queries with judgements."""
    if test is not None and compare is None:
        raise typer.BadParameter("--test is about --compare; give both")
    if tune_fusion:
        others = i.given(
            metrics=metrics,
            k=k,
            mode=mode,
            where=where,
            per_document=per_document,
            fusion=fusion,
            weights=weights,
            rerank=rerank,
            compare=compare,
            run_file=run_file,
            csv=csv,
            save=save,
            name=name,
            batch_size=batch_size,
            snapshot=snapshot,
        )
        if others:
            first = "-k" if "k" in others else f"--{next(iter(others)).replace('_', '-')}"
            raise typer.BadParameter(f"--tune-fusion measures nothing else; leave out {first}")
        return _tune_fusion(path, queries, qrels, encoder, i.given(depth=depth, seed=seed), as_json)
    if seed is not None and compare is None:
        raise typer.BadParameter("--seed is about --compare and --tune-fusion")
    import retrieval_index
    from kzoo.cli.index.parameters import search_options

    options = search_options(mode, where, per_document, fusion, weights, depth, rerank)
    named = [part.strip() for text in metrics or () for part in text.split(",")] or None
    with (
        i.going_on("nothing written"),
        retrieval_index.open(path, encoder, snapshot=snapshot) as opened,
    ):
        found = retrieval_index.evaluate(
            opened,
            queries,
            qrels,
            progress=not quiet,
            **i.given(metrics=named, k=k, run_file=run_file, batch_size=batch_size, name=name),
            **options,
        )
    if csv is not None:
        found.to_csv(csv)
    if save is not None:
        found.to_json(save)
    compared = None
    if compare is not None:
        other = _other(compare, qrels, found)
        compared = found.compare(other, **i.given(test=test, seed=seed))
    if as_json:
        extra = {} if compared is None else {"comparison": compared.to_dict()}
        return console.show_json(found.to_dict() | extra)
    _show(found, f"{path}, {mode or 'dense'} search")
    if compared is not None:
        _show_comparison(compared)


def _other(path: Path, qrels: str, found: Evaluation) -> Evaluation:
    """The evaluation of another system on the same queries."""
    import retrieval_index

    if path.suffix.lower() == ".json":
        return retrieval_index.Evaluation.read_json(path)
    judged = retrieval_index.read_qrels(qrels)
    asked = {query: judged[query] for query in found.per_query}
    return retrieval_index.evaluate_run(
        retrieval_index.read_run(path), asked, metrics=list(found.metrics), name=path.name
    )


def _show(found: Evaluation, title: str) -> None:
    rows = console.table("metric", "mean", right=("mean",))
    for metric, value in found.metrics.items():
        rows.add_row(metric, f"{value:.4f}")
    console.show(title, rows, *found.summary().split("; "))


def _show_comparison(found: Comparison) -> None:
    numbers = (found.first, found.second, "difference", "p", "p (Holm)")
    rows = console.table("metric", *numbers, "better/worse/same", right=numbers)
    for row in found.rows:
        rows.add_row(
            row.metric,
            f"{row.first:.4f}",
            f"{row.second:.4f}",
            f"{row.difference:+.4f}",
            f"{row.p_value:.3g}",
            f"{row.p_holm:.3g}",
            f"{row.wins}/{row.losses}/{row.ties}",
        )
    console.show(rows, f"{found.queries} queries; {found.test} test, two-sided")


def _tune_fusion(
    path: Path,
    queries: str,
    qrels: str,
    encoder: str | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    import retrieval_index

    with i.going_on(i.UNCHANGED):
        found = retrieval_index.tune_fusion(
            path,
            retrieval_index.read_queries(queries),
            retrieval_index.read_qrels(qrels),
            encoder,
            **options,
        )
    if as_json:
        return console.show_json(found)
    rows = console.table("ranking", "nDCG@10", right=("nDCG@10",))
    rows.add_row("dense", f"{found['dense']:.4f}")
    rows.add_row("lexical", f"{found['lexical']:.4f}")
    rows.add_row("hybrid, equal weights (rrf)", f"{found['equal']:.4f}")
    rows.add_row("hybrid, tuned, on queries it was not tuned on", f"{found['held_out']:.4f}")
    dense, lexical = found["weights"]
    console.show(
        rows,
        f"Stored: {found['method']} with weights {dense:g} (dense) and {lexical:g} (lexical), "
        f"from {found['queries']} queries.",
        f"Next: kzoo index search {path} --mode hybrid 'a question'",
    )


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
