"""Hits limited per document: as many as wanted, and whatever else is asked in the same call."""

import numpy as np

from retrieval_index.searching.passage import search_documents


def searcher(rankings):
    """Searches fixed rankings of passages; scores depend on how many are asked for, as fused ones
    do."""

    def search(count):
        return [
            (np.arange(count, 0, -1, dtype=np.float32)[: len(row)] + count, np.array(row[:count]))
            for row in rankings
        ]

    return search


def documents(numbers):
    return numbers // 100  # a hundred passages each


CROWDED = [*range(50), 100, 200]
PLAIN = [300, 400, 500, *range(301, 340)]


def test_crowded_queries_are_searched_deeper():
    (found,) = search_documents(searcher([CROWDED]), documents, 3, 1, 1000)
    assert found[1].tolist() == [0, 100, 200]


def test_an_answer_does_not_depend_on_the_other_queries():
    (alone,) = search_documents(searcher([PLAIN]), documents, 3, 1, 1000)
    _, beside = search_documents(searcher([CROWDED, PLAIN]), documents, 3, 1, 1000)
    assert beside[1].tolist() == alone[1].tolist() == [300, 400, 500]
    assert beside[0].tolist() == alone[0].tolist()
