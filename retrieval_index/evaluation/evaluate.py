"""Evaluation of an index, or of a run of any system."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from retrieval_index.errors import ArgumentError, EvaluationError, check_positive
from retrieval_index.evaluation.evaluation import Counts, Evaluation, Latency
from retrieval_index.evaluation.files import Qrels, read_qrels, read_queries
from retrieval_index.evaluation.metrics import DEFAULT_METRICS, Metric, parse_metrics, ranked
from retrieval_index.evaluation.runs import Run, read_run, write_run
from retrieval_index.progress import TerminalBar

if TYPE_CHECKING:
    from retrieval_index.searching.passage import Passage

    Source = str | os.PathLike[str]


class EvaluationProgress(TerminalBar):
    """Shows queries done, and the time left, on standard error, if that is a terminal.

    Args:
        queries: How many there are.
        enabled: False shows nothing, whatever standard error is.
    """

    def __init__(self, queries: int, enabled: bool = True) -> None:
        super().__init__(enabled, queries, "searching")

    def _columns(self) -> Sequence[Any]:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        return "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()

    def advance(self, queries: int) -> None:
        """Counts queries that were answered."""
        if self._bar is not None:
            self._bar.update(self._task, advance=queries)


class Searchable(Protocol):
    """What can be evaluated."""

    def search(self, queries: list[str], k: int, **options: Any) -> list[list[Passage]]:
        """Returns at most k passages for each query, with `document_id` and `score`."""
        ...


def evaluate(
    index: Searchable | Any,
    queries: Source | Mapping[str, str],
    qrels: Source | Mapping[str, Mapping[str, int]],
    *,
    metrics: str | Iterable[str] = DEFAULT_METRICS,
    k: int = 100,
    progress: bool = True,
    run_file: Source | None = None,
    batch_size: int = 1,
    name: str = "kzoo",
    **search_options: Any,
) -> Evaluation:
    """Searches for all queries that have judgements and measures the answers.

    A document is scored by its best passage. Queries without judgements are not searched for.

    Args:
        index: An index, or anything with `search(queries, k, per_document=1)`.
        queries: As in `read_queries`: a BEIR `queries.jsonl`, a TSV, or ids to texts.
        qrels: As in `read_qrels`: a BEIR or TREC file, or query ids to documents and levels.
        metrics: Names as in `parse_metric`.
        k: Documents asked for each query. Metrics without a cutoff, such as AP, see no more.
        progress: Whether a bar is shown on standard error, if that is a terminal.
        run_file: Where to write the answers as a TREC run; None: nowhere.
        batch_size: Queries in one call. The latency is that of single queries only at 1; larger
            batches take less time in all.
        name: Of the system, in tables and as tag of the run file.
        **search_options: Passed to `index.search`, such as `where=` or `mode=`; `per_document` is 1
            unless given.

    Returns:
        Means, values of each query, counts, and latency.

    Raises:
        ArgumentError: If a metric is unknown or reaches beyond `k`, a number is below 1, or the
            index answers in another form.
        EvaluationError: If queries or judgements cannot be read, or share no query.
    """
    parsed = parse_metrics(metrics)
    k = check_positive("k", k)
    batch_size = check_positive("batch_size", batch_size)
    deepest = max(parsed, key=lambda metric: metric.cutoff or 0)
    if (deepest.cutoff or 0) > k:
        raise ArgumentError(f"`k` must be at least {deepest.cutoff} for {deepest}; received: {k}.")
    texts, judged = read_queries(queries), read_qrels(qrels)
    asked = [query for query in texts if query in judged]
    if not asked:
        raise EvaluationError(
            f"`queries` and `qrels` must share ids of queries; queries begin with {_first(texts)}, "
            f"qrels with {_first(judged)}."
        )
    options = {"per_document": 1, **search_options}
    run, latency = _search(index, {q: texts[q] for q in asked}, k, batch_size, progress, options)
    if run_file is not None:
        write_run(run_file, run, name)
    return _measure(
        run,
        {query: judged[query] for query in asked},
        parsed,
        name=name,
        k=k,
        latency=latency,
        without_judgements=len(texts) - len(asked),
        not_asked=len(judged) - len(asked),
    )


def evaluate_run(
    run: Source | Mapping[str, Mapping[str, float]],
    qrels: Source | Mapping[str, Mapping[str, int]],
    *,
    metrics: str | Iterable[str] = DEFAULT_METRICS,
    name: str = "",
) -> Evaluation:
    """Measures the answers of any system.

    All queries with judgements are taken as asked: one that is not in the run counts as 0, as with
    `trec_eval -c`.

    Args:
        run: As in `read_run`: a TREC file, or query ids to documents and scores.
        qrels: As in `evaluate`.
        metrics: As in `evaluate`.
        name: Of the system; "": that of the file, or "run".

    Returns:
        Means, values of each query and counts.

    Raises:
        ArgumentError: If a metric is unknown.
        EvaluationError: If run or judgements cannot be read, or share no query.
    """
    parsed = parse_metrics(metrics)
    found, judged = read_run(run), read_qrels(qrels)
    if not found.keys() & judged.keys():
        raise EvaluationError(
            f"`run` and `qrels` must share ids of queries; the run begins with {_first(found)}, "
            f"qrels with {_first(judged)}."
        )
    if not name:
        name = os.path.basename(os.fspath(run)) if isinstance(run, str | os.PathLike) else "run"
    unjudged = len(found.keys() - judged.keys())
    return _measure(found, judged, parsed, name=name, without_judgements=unjudged)


def _search(
    index: Any,
    texts: dict[str, str],
    k: int,
    batch_size: int,
    progress: bool,
    options: dict[str, Any],
) -> tuple[Run, Latency]:
    import numpy as np

    run: Run = {}
    milliseconds: list[float] = []
    ids = list(texts)
    batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    # The first search loads encoders and files, which is no part of a query's latency.
    index.search([texts[query] for query in batches[0]], k, **options)
    with EvaluationProgress(len(ids), progress) as bar:
        for batch in batches:
            started = time.perf_counter()
            answers = index.search([texts[query] for query in batch], k, **options)
            elapsed = 1000.0 * (time.perf_counter() - started) / len(batch)
            milliseconds += [elapsed] * len(batch)
            if not isinstance(answers, list | tuple) or len(answers) != len(batch):
                raise ArgumentError(
                    "`index.search` must return a list of hits for each query; received "
                    f"{type(answers).__name__} for {len(batch)} queries."
                )
            for query, hits in zip(batch, answers, strict=True):
                run[query] = _best_passages(hits)
            bar.advance(len(batch))
    p50, p95 = np.percentile(milliseconds, [50, 95]).tolist()
    return read_run(run), Latency(p50, p95, float(np.mean(milliseconds)), batch_size)


def _best_passages(hits: Iterable[Passage]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for hit in hits:
        best = scores.get(hit.document_id)
        if best is None or hit.score > best:
            scores[hit.document_id] = hit.score
    return scores


def _measure(
    run: Run,
    judged: Qrels,
    metrics: list[Metric],
    *,
    name: str,
    k: int | None = None,
    latency: Latency | None = None,
    without_judgements: int = 0,
    not_asked: int = 0,
) -> Evaluation:
    per_query: dict[str, dict[str, float]] = {}
    for query, levels in judged.items():
        ranking = ranked(run.get(query, {}))
        per_query[query] = {str(metric): metric(ranking, levels) for metric in metrics}
    count = len(per_query)
    counts = Counts(
        evaluated=count,
        without_hits=sum(not run.get(query) for query in judged),
        without_relevant=sum(max(levels.values()) < 1 for levels in judged.values()),
        without_judgements=without_judgements,
        not_asked=not_asked,
    )
    means = {
        str(metric): sum(values[str(metric)] for values in per_query.values()) / count
        for metric in metrics
    }
    return Evaluation(name, means, per_query, counts, k, latency, run)


def _first(ids: Mapping[str, object]) -> str:
    return ", ".join(repr(id) for id in list(ids)[:3])
