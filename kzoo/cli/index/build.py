"""`kzoo index build` and `finish`: an index, made here or in parts."""

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
    encoding_errors: i.EncodingErrors = None,
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
        int | None, typer.Option(help="Make this part of the index only, from 0; see finish.")
    ] = None,
    shard_num: Annotated[
        int | None, typer.Option(help="Number of parts. [as many as workers]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that encode, on Ray (kzoo[ray]).")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster of the workers, such as auto. [this machine]")
    ] = None,
    strict: i.Strict = False,
    overwrite: Overwrite = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Build an index. A build that was broken off continues where it was."""
    if no_lexical and (language, k1, b) != (None, None, None):
        raise typer.BadParameter("--no-lexical excludes --language, --k1 and --b")
    _check_parts(shard_id, shard_num, workers, address, overwrite)
    from kzoo.cli.index.parameters import find_corpus, parse_fields

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
        encoding_errors=encoding_errors,
        seed=seed,
        batch_size=batch_size,
        shard_size=shard_size,
    )
    options |= {
        "deletes": deletes,
        "require_ids": require_ids,
        "normalize": normalize,
        "reproducible": reproducible,
        "strict": strict,
        "progress": not quiet,
    }
    if no_lexical:
        options["language"] = None
    documents = find_corpus(corpus)
    try:
        if shard_id is not None:
            return _part(documents, out, encoder, shard_id, shard_num, options, as_json)
        if workers is not None:
            from retrieval_index import distributed

            cluster = i.given(shard_num=shard_num, address=address)
            made = distributed.build(
                documents, out, encoder, workers=workers, overwrite=overwrite, **cluster, **options
            )
        else:
            import retrieval_index

            made = retrieval_index.build(documents, out, encoder, overwrite=overwrite, **options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_is_kept(out)) from None
    _show(out, made, as_json)


def finish(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new index.")],
    shard_num: Annotated[int, typer.Option(min=1, help="Number of parts.")],
    encoder: i.Encoder = None,
    overwrite: Overwrite = False,
    remove_parts: Annotated[
        bool, typer.Option("--remove-parts", help="Remove the parts once the index is there.")
    ] = False,
    quiet: i.Quiet = False,
    as_json: Json = False,
) -> None:
    """Make the index of parts that `build --shard-id` made, as if built in one go."""
    from retrieval_index import distributed

    with i.going_on("the parts are as they were; the same command starts again"):
        made = distributed.finish(
            out,
            shard_num,
            encoder=encoder,
            overwrite=overwrite,
            remove_parts=remove_parts,
            progress=not quiet,
        )
    _show(out, made, as_json)


def _check_parts(
    shard_id: int | None,
    shard_num: int | None,
    workers: int | None,
    address: str | None,
    overwrite: bool,
) -> None:
    """Refuses options that would be without effect."""
    if shard_id is not None and (workers is not None or overwrite):
        raise typer.BadParameter("--shard-id excludes --workers and --overwrite")
    if shard_id is not None and shard_num is None:
        raise typer.BadParameter("--shard-id needs --shard-num")
    if shard_num is not None and shard_id is None and workers is None:
        raise typer.BadParameter("--shard-num needs --shard-id, or --workers")
    if address is not None and workers is None:
        raise typer.BadParameter("--address needs --workers")


def _part(
    documents: Any,
    out: Path,
    encoder: str | None,
    shard_id: int,
    shard_num: int | None,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    from kzoo.cli.index.facts import account
    from retrieval_index import distributed

    part = distributed.build_part(
        documents, out, encoder, shard_id=shard_id, shard_num=shard_num or 1, **options
    )
    if as_json:
        done = {"path": str(part.path), "done_before": part.done_before}
        return console.show_json({"report": part.report.to_dict(), "part": done})
    console.show(console.facts(account(part.report), title=str(part.path)))
    if part.done_before:
        console.show("This part was there already.")
    console.show(f"When all are there: kzoo index finish {out} --shard-num {shard_num}")


def _show(out: Path, made: Any, as_json: bool) -> None:
    from kzoo.cli.index.facts import account, description, vectors

    with made:
        report, found = made.report, made.info()
    if as_json:
        return console.show_json({"report": report.to_dict(), "index": found})
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
