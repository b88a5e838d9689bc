"""`kzoo index build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli.index import parameters as i
from kzoo.cli.parameters import Json, Overwrite


def build(
    corpus: i.Corpus,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new index.")],
    encoder: Annotated[
        str | None, typer.Option(help="Makes the vectors; see below. [kzoo:minilm-encoder]")
    ] = None,
    chunking: Annotated[
        str | None, typer.Option(help="How documents are cut; see below. [tokens]")
    ] = None,
    chunk_size: Annotated[
        int | None, typer.Option(help="Most tokens (words, characters) in a passage.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Of these, repeated in the next passage. [an eighth]")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of stopwords and stems for search by words. [en]")
    ] = None,
    no_lexical: Annotated[
        bool, typer.Option("--no-lexical", help="Leave out what search by words needs.")
    ] = False,
    k1: Annotated[float | None, typer.Option("--k1", help="Of BM25. [0.9]")] = None,
    b: Annotated[float | None, typer.Option("--b", help="Of BM25. [0.4]")] = None,
    index: Annotated[
        str | None, typer.Option(help="FAISS factory string. [chosen by size and budgets]")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Most memory for the vectors, such as 500MB or 2GB.")
    ] = None,
    latency: Annotated[
        float | None, typer.Option(help="Most milliseconds a query, on one core.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of the true 10 nearest to be found. [0.95]")
    ] = None,
    deletes: Annotated[
        bool, typer.Option("--deletes", help="Many documents will be deleted or replaced.")
    ] = False,
    fields: i.Fields = None,
    duplicates: i.Duplicates = None,
    require_ids: i.RequireIds = False,
    encoding: i.Encoding = None,
    normalize: Annotated[
        bool, typer.Option(help="Scale vectors to length 1: scores are cosines.")
    ] = True,
    reproducible: Annotated[
        bool, typer.Option(help="Same input, same index, to the bit; graphs grow slower.")
    ] = True,
    seed: i.Seed = None,
    batch_size: i.BatchSize = None,
    shard_size: i.ShardSize = None,
    shard_id: Annotated[
        int | None, typer.Option(help="Build this part of the corpus only, from 0; see merge.")
    ] = None,
    shard_num: Annotated[int | None, typer.Option(help="Number of parts.")] = None,
    strict: i.Strict = False,
    overwrite: Overwrite = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Build an index. A build that was broken off continues where it was."""
    if no_lexical and (language, k1, b) != (None, None, None):
        raise typer.BadParameter("--no-lexical excludes --language, --k1 and --b")
    if (shard_id is None) != (shard_num is None):
        raise typer.BadParameter("--shard-id and --shard-num go together")
    import retrieval_index
    from kzoo.cli.index.corpus import find_corpus, parse_fields

    options = i.given(
        fields=parse_fields(fields),
        chunking=chunking,
        chunk_size=chunk_size,
        overlap=overlap,
        language=language,
        k1=k1,
        b=b,
        index=index,
        memory=memory,
        latency=latency,
        recall=recall,
        duplicates=duplicates,
        encoding=encoding,
        seed=seed,
        batch_size=batch_size,
        shard_size=shard_size,
        shard_id=shard_id,
        shard_num=shard_num,
    )
    if no_lexical:
        options["language"] = None
    try:
        made = retrieval_index.build(
            find_corpus(corpus),
            out,
            encoder,
            deletes=deletes,
            require_ids=require_ids,
            normalize=normalize,
            reproducible=reproducible,
            strict=strict,
            overwrite=overwrite,
            progress=not quiet,
            **options,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_is_kept(out)) from None
    with made:
        report, found = made.report, made.info()
    if as_json:
        return console.show_json({"report": report.to_dict(), "index": found})
    _show(out, report, found)


def _show(out: Path, report: Any, found: dict[str, Any]) -> None:
    from kzoo.cli.index.facts import account, description, vectors

    facts = {
        **account(report),
        **description(found),
        **vectors(found["segments"][0]["vectors"]),
        "size": console.megabytes(found["size_bytes"]),
        "time": f"{report.seconds:.1f} s, {report.encode_seconds:.1f} s of it in the encoder",
    }
    console.show(console.facts(facts, title=str(out)))
    console.show(f"Next: kzoo index search {out} 'a question'")


def _what_is_kept(out: Path) -> str:
    """What a broken-off build left; see `retrieval_index.storage.workspace`."""
    place = out.expanduser().resolve()
    shards = len(list(place.with_name(f".{place.name}.building").glob("shard-*.json")))
    if not shards:
        return "nothing kept; the same command starts again"
    what = "the first shard" if shards == 1 else f"{shards} shards"
    return f"{what} of encoded passages kept; the same command goes on from there"
