"""How good retrieval is: dense, BM25, and both fused, next to published figures.

    python benchmarks/retrieval_quality.py --data DIR

`DIR` holds collections in BEIR's layout (`scifact/corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`,
perhaps `qrels/train.tsv`). Each is built with `retrieval_index.build`, one passage a document, and
once more with passages of the default size, where a document counts as its best passage. Queries
of tuned weights chose nothing: the weights come from the training judgements, or from other folds.

An index that is in `--work` already, made with the same encoder and settings, is taken from there;
a build that was broken off goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, load_average, machine, write_json
from _fusion_ties import ties_note
from _published_retrieval import GOALS, Goal
from _query_memory import QueryMemory
from rich.console import Console
from rich.table import Table

import retrieval_index
from retrieval_index import Evaluation, Index

METRICS = ("nDCG@10", "RR@10", "R@100")
MINILM = "kzoo:minilm-encoder"
EQUAL = {"mode": "hybrid", "fusion": "rrf", "weights": (1, 1)}
FOLDS = 5


@dataclass(frozen=True)
class Collection:
    """Documents, queries and judgements.

    Attributes:
        name: Of its folder.
        corpus: The file of documents.
        queries: Texts by id.
        test: Judgements to measure with.
        train: Others to tune with; empty where there are none.
    """

    name: str
    corpus: Path
    queries: dict[str, str]
    test: dict[str, dict[str, int]]
    train: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """Reads a folder in BEIR's layout."""
        train = folder / "qrels" / "train.tsv"
        return cls(
            folder.name,
            folder / "corpus.jsonl",
            retrieval_index.read_queries(folder / "queries.jsonl"),
            retrieval_index.read_qrels(folder / "qrels" / "test.tsv"),
            retrieval_index.read_qrels(train) if train.exists() else {},
        )


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints a table for each collection; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("faiss-cpu", "bm25s", "PyStemmer", "pytrec_eval", "tensorflow", "keras")
    encoder = QueryMemory(retrieval_index.resolve_encoder(options.encoder))
    found: Result = {"options": vars(options), "machine": facts, "collections": {}}
    for name in options.collection:
        collection = Collection.read(Path(options.data) / name)
        goals = GOALS.get(name, {}) if options.encoder == MINILM else {}
        rows, builds = measure(collection, encoder, options, console)
        worst = max((row.pop("pytrec_difference") or 0.0 for row in rows.values()), default=0.0)
        console.print(report(name, rows, goals))
        checked = "pytrec_eval is not installed"
        if installed_pytrec():
            checked = f"largest difference to pytrec_eval {worst:.1e}"
        console.print(f"{checked}; load {load_average()} at the end")
        found["collections"][name] = {"rows": rows, "builds": builds, "pytrec": worst}
    write_json(options.json, found)
    return found


def measure(
    collection: Collection, encoder: Any, options: argparse.Namespace, console: Console
) -> tuple[dict[str, Result], dict[str, Result]]:
    """Returns the figures of each kind of search, and what building took."""
    rows: dict[str, Result] = {}
    builds: dict[str, Result] = {}
    path, builds["none"] = built(collection, "none", encoder, options, console)

    def put(key: str, evaluation: Evaluation, note: str = "") -> Evaluation:
        difference = pytrec_difference(evaluation, collection.test)
        rows[key] = {**evaluation.metrics, "note": note, "pytrec_difference": difference}
        return evaluation

    with retrieval_index.open(path, encoder, checksums=False) as index:
        dense = put("dense", search(index, collection, mode="dense"))
        lexical = put("lexical", search(index, collection, mode="lexical"))
        put("fused", search(index, collection, **EQUAL), ties_note(dense, lexical, collection.test))
        put("tuned", *tuned(index, path, collection, encoder))
    if not options.skip_default_chunking:
        path, builds["tokens"] = built(collection, "tokens", encoder, options, console)
        with retrieval_index.open(path, encoder, checksums=False) as index:
            size = index.info()["chunker"]["size"]
            note = f"{len(index)} passages of at most {size}; the best one counts"
            put("chunked", search(index, collection, mode="dense"), note)
    return rows, builds


def built(
    collection: Collection,
    chunking: str,
    encoder: Any,
    options: argparse.Namespace,
    console: Console,
) -> tuple[Path, Result]:
    """Returns the folder of an index, built unless it is there, and what it took."""
    path = Path(options.work) / f"{collection.name}-{chunking}"
    if not options.fresh and (path / "manifest.json").exists():
        with retrieval_index.open(path) as index:
            info = index.info()
            same = (encoder.fingerprint, chunking) == (
                info["encoder"]["fingerprint"],
                info["chunker"]["method"],
            )
            if same:
                console.print(f"[dim]{path.name}: built before, version {info['version']}")
                return path, {**index.report.to_dict(), "reused": True}
    console.print(f"[dim]{path.name}: building, load {load_average()}")
    began = time.perf_counter()
    with retrieval_index.build(
        collection.corpus, path, encoder, chunking=chunking, language="en", overwrite=True
    ) as index:
        seconds = time.perf_counter() - began
        console.print(f"[dim]{path.name}: {index.report.chunks} passages in {seconds:.1f} s")
        return path, {**index.report.to_dict(), "reused": False}


def search(
    index: Index,
    collection: Collection,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    **how: Any,
) -> Evaluation:
    """Evaluates one kind of search on the test judgements, or on others."""
    return retrieval_index.evaluate(
        index,
        collection.queries,
        collection.test if qrels is None else qrels,
        metrics=METRICS,
        batch_size=64,
        progress=False,
        **how,
    )


def tuned(index: Index, path: Path, collection: Collection, encoder: Any) -> tuple[Evaluation, str]:
    """Returns the evaluation of fusion with weights that the queries did not choose, and a note.

    `tune_fusion` also stores what it finds in the index, which searches here do not ask for.
    """

    def rule(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
        found = retrieval_index.tune_fusion(path, collection.queries, qrels, encoder)
        return {"mode": "hybrid", "fusion": found["method"], "weights": found["weights"]}

    def shown(how: Mapping[str, Any]) -> str:
        return f"{how['fusion']} " + ":".join(f"{weight:.1f}" for weight in how["weights"])

    if collection.train:
        how = rule(collection.train)
        note = f"{shown(how)} from {len(collection.train)} training queries"
        return search(index, collection, **how), note
    asked = [query for query in collection.queries if query in collection.test]
    fold_of = np.random.default_rng(0).permutation(len(asked)) % FOLDS
    run: dict[str, dict[str, float]] = {}
    rules = []
    for fold in range(FOLDS):
        inside = {q for q, number in zip(asked, fold_of, strict=True) if number == fold}
        how = rule({q: levels for q, levels in collection.test.items() if q not in inside})
        rules.append(shown(how))
        qrels = {q: levels for q, levels in collection.test.items() if q in inside}
        run |= search(index, collection, qrels, **how).run
    note = f"{FOLDS} folds: {', '.join(dict.fromkeys(rules))}"
    return retrieval_index.evaluate_run(run, collection.test, metrics=METRICS), note


def pytrec_difference(
    evaluation: Evaluation, qrels: Mapping[str, Mapping[str, int]]
) -> float | None:
    """Returns the largest difference of a value of a query to pytrec_eval's, if installed."""
    if not installed_pytrec():
        return None
    import pytrec_eval

    queries = evaluation.per_query
    judged = {query: dict(qrels[query]) for query in queries}
    run = {query: dict(evaluation.run.get(query, {})) for query in queries}
    peer = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut_10", "recall_100", "recip_rank"})
    worst = 0.0
    for query, values in peer.evaluate(run).items():
        rank = values["recip_rank"]
        expected = {
            "nDCG@10": values["ndcg_cut_10"],
            "R@100": values["recall_100"],
            "RR@10": rank if rank >= 0.0999 else 0.0,
        }
        for metric, value in expected.items():
            worst = max(worst, abs(queries[query][metric] - value))
    return worst


def installed_pytrec() -> bool:
    """Whether pytrec_eval can be imported."""
    from importlib.util import find_spec

    return find_spec("pytrec_eval") is not None


def report(name: str, rows: Mapping[str, Result], goals: Mapping[str, Goal]) -> Table:
    """A rich table of the figures, the published ones beside, with verdicts."""
    labels = {
        "dense": "dense",
        "lexical": "BM25",
        "fused": "fused, equal weights",
        "tuned": "fused, tuned on other queries",
        "chunked": "dense, default passages",
    }
    made = Table(title=name, title_justify="left")
    for column in ("", *METRICS, "published nDCG@10", "verdict", ""):
        made.add_column(column, justify="left" if not column else "right", no_wrap=bool(column))
    for key, figures in rows.items():
        goal = goals.get("fused" if key == "tuned" else key)
        verdict = "" if goal is None else goal.verdict(figures["nDCG@10"])
        figures["verdict"] = verdict
        cells = [f"{figures[metric]:.4f}" for metric in METRICS]
        published = "" if goal is None else f"{goal.value:.4f}"
        made.add_row(labels[key], *cells, published, verdict, figures["note"])
    return made


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("--data", required=True, metavar="DIR", help="folder that holds the collections")
    add("--collection", nargs="+", default=["stackfaq", "cranfield", "scifact"], metavar="NAME")
    add("--encoder", default=MINILM, help=f"default: {MINILM}, which the published figures are of")
    add("--work", default=str(Path(tempfile.gettempdir()) / "kzoo-retrieval-quality"))
    add("--fresh", action="store_true", help="build again what is in --work")
    add("--skip-default-chunking", action="store_true", help="leave the last row out")
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
