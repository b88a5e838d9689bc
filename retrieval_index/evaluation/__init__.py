"""Evaluation: how good the answers of an index are, by queries with judged documents.

    evaluation = evaluate(index, "scifact/queries.jsonl", "scifact/qrels/test.tsv")
    print(evaluation)                                # nDCG@10, RR@10, R@100, AP, Success@5, latency
    print(evaluation.compare(evaluate_run("other.trec", "scifact/qrels/test.tsv")))

The rules are those of trec_eval, and so are the figures:

- A run is ordered by score, compared in 32 bits, and among equals by document id, last id first.
  The ranks that a run file states are of no account.
- A document without a judgement, or with one below 1, is not relevant and has no gain.
- Means are taken over all queries that were asked and have a judgement. One without hits counts as
  0, and so does one whose judgements name no relevant document (both are counted and reported).
- A query without any judgement says nothing: it is left out, counted and reported.
"""

from __future__ import annotations

from retrieval_index.evaluation.comparison import Comparison, ComparisonRow
from retrieval_index.evaluation.evaluate import evaluate, evaluate_run
from retrieval_index.evaluation.evaluation import Counts, Evaluation, Latency
from retrieval_index.evaluation.files import read_qrels, read_queries
from retrieval_index.evaluation.metrics import DEFAULT_METRICS, Metric, parse_metric
from retrieval_index.evaluation.runs import read_run, write_run

__all__ = [
    "DEFAULT_METRICS",
    "Comparison",
    "ComparisonRow",
    "Counts",
    "Evaluation",
    "Latency",
    "Metric",
    "evaluate",
    "evaluate_run",
    "parse_metric",
    "read_qrels",
    "read_queries",
    "read_run",
    "write_run",
]
