"""What the order of equal fused scores is worth."""

from __future__ import annotations

from collections.abc import Mapping

import retrieval_index
from retrieval_index import Evaluation

METRIC = "nDCG@10"


def ties_note(
    dense: Evaluation, lexical: Evaluation, qrels: Mapping[str, Mapping[str, int]]
) -> str:
    """Tells what equal weights give when equal fused scores are ordered otherwise.

    Ranks (2, 5) and (5, 2) fuse to the same score, and so many do; trec_eval orders equal scores by
    the id of the document, last first, which says nothing about relevance.
    """
    both = (dense, lexical)
    found = []
    for first in (0, 1):
        run = {}
        for query in qrels:
            ranks = [places(evaluation.run.get(query, {})) for evaluation in both]
            scores = {
                document: sum(1 / (60 + ranked[document]) for ranked in ranks if document in ranked)
                for document in {*ranks[0], *ranks[1]}
            }
            order = sorted(
                scores, key=lambda d: (-round(scores[d], 12), ranks[first].get(d, len(scores)))
            )
            run[query] = {document: -float(place) for place, document in enumerate(order)}
        evaluation = retrieval_index.evaluate_run(run, qrels, metrics=METRIC)
        found.append(f"{evaluation.metrics[METRIC]:.4f}")
    return f"ties to dense {found[0]}, to BM25 {found[1]}"


def places(scores: Mapping[str, float]) -> dict[str, int]:
    """Rank of each document, from 1, by score and then as trec_eval has it."""
    order = sorted(scores, key=lambda document: (scores[document], document), reverse=True)
    return {document: rank for rank, document in enumerate(order, start=1)}
