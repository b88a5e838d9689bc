"""`kzoo.Reranker`: passages in a new order, by a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.models.model import Model


@dataclass(frozen=True)
class Ranked:
    """A passage in its new place.

    Args:
        number: Its place before, from 0.
        text: The passage.
        score: Larger is more relevant; of no fixed scale.
    """

    number: int
    text: str
    score: float


@keras.saving.register_keras_serializable(package="kzoo")
class Reranker(Model):
    """Scores passages for a query: a trunk that reads both, and a `kzoo.heads.Rank`.

    `fit` takes rows of a query and up to k passages; `scores` and `rerank` any number of them.
    `scores` is what the search of `retrieval_index` takes as `rerank`. Make one with `kzoo.load`
    or `Reranker.on(trunk, {"k": 8})`.

    Example:
        >>> model = kzoo.load("bert-ranker")
        >>> model.fit([("how high is it", ["8849 m", "in Nepal"]), ...], [[1, 0], ...])
        >>> model.rerank("how high is it", passages, k=3)
        >>> retrieval_index.open("out/index").search("how high is it", rerank=model.scores)
    """

    head_kind: ClassVar[str] = "rank"

    def scores(
        self, query: str, passages: Sequence[str], batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """The head's score of each passage.

        Args:
            query: The query.
            passages: n texts.
            batch_size: Rows of k passages a step. Default: the recipe's.

        Returns:
            float32 (n,). The score of a passage does not depend on the others.

        Raises:
            InputError: Something else than texts.
        """
        if isinstance(passages, (str, bytes)):
            raise InputError("`passages` must be a list of texts, not one text.")
        if len(passages) == 0:
            return np.zeros(0, "float32")
        texts, k = list(passages), self.head.units
        rows = [(query, texts[start : start + k]) for start in range(0, len(texts), k)]
        found = self.predict(rows, batch_size=batch_size, verbose=0)
        return np.asarray(found, "float32").ravel()[: len(texts)]

    def rerank(self, query: str, passages: Sequence[str], k: int | None = None) -> list[Ranked]:
        """Passages by their scores, the best first; equal ones in the order given.

        Args:
            query: The query.
            passages: n texts.
            k: How many to return. Default: all.

        Returns:
            k passages.

        Raises:
            InputError: Something else than texts, or `k` below 1.
        """
        if k is not None and k < 1:
            raise InputError(f"`k` must be at least 1. Received: {k}")
        scores = self.scores(query, passages)
        order = np.argsort(-scores, kind="stable")[:k].tolist()
        return [Ranked(i, passages[i], float(scores[i])) for i in order]
