"""How dense and lexical rankings are made one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, check_positive

if TYPE_CHECKING:
    from retrieval_index.searching.passage import Numbers, Ranking

MODES = ("dense", "lexical", "hybrid")


@dataclass(frozen=True, slots=True)
class Hybrid:
    """The rule of a hybrid search.

    Equal weights were better than either ranking alone on nine of ten public collections, and
    worse on the tenth (StackFAQ): `tune_fusion` chooses the weights from judged queries.

    Attributes:
        method: Name of a fusion method, see `retrieval_index.fusion`. Default "rrf".
        weights: Weights of the dense and of the lexical ranking. Default (1, 1).
        depth: Hits taken of each ranking. Default 100.
    """

    method: str = "rrf"
    weights: tuple[float, float] = (1.0, 1.0)
    depth: int = 100

    def to_dict(self) -> dict[str, Any]:
        """Returns the rule as JSON-ready data."""
        return {**asdict(self), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Hybrid:
        """Returns the rule that an index stores; what is missing has its default.

        Raises:
            ArgumentError: If a key is unknown or a value out of range.
            TypeError: If a value is of the wrong kind.
        """
        unknown = set(data) - set(asdict(cls()))
        if unknown:
            raise ArgumentError(f"Hybrid search has no {', '.join(sorted(unknown))}.")
        check_positive("depth", data.get("depth", 1))
        return cls.of(data)

    @classmethod
    def of(
        cls,
        stored: Mapping[str, Any],
        method: str | None = None,
        weights: Sequence[float] | None = None,
        depth: int | None = None,
    ) -> Hybrid:
        """Returns the rule that an index stores, with what a search wants otherwise.

        Raises:
            ArgumentError: If the method is unknown, or a number is out of range.
        """
        from retrieval_index.fusion import METHODS

        rule = {**asdict(cls()), **stored}
        if method is not None:
            # Weights that were tuned for one method say nothing about another.
            if method != rule["method"]:
                rule["weights"] = cls().weights
            rule["method"] = method
        if rule["method"] not in METHODS:
            raise ArgumentError(
                f"`fusion` must be one of {', '.join(METHODS)}; received: {rule['method']!r}."
            )
        if weights is not None:
            rule["weights"] = weights
        if depth is not None:
            rule["depth"] = check_positive("depth", depth)
        pair = tuple(rule["weights"])
        usable = len(pair) == 2 and all(isinstance(w, int | float) and w >= 0 for w in pair)
        if not usable or not sum(pair) > 0:
            raise ArgumentError(
                "`weights` must be two numbers from 0 on, for the dense and the lexical ranking, "
                f"not both 0; received: {pair!r}."
            )
        return cls(rule["method"], (float(pair[0]), float(pair[1])), rule["depth"])

    def fuse(self, dense: Ranking, lexical: Ranking, k: int) -> Ranking:
        """Returns the k best hits of both rankings of one query.

        Reciprocal ranks often tie: the third hit of one ranking alone scores as the third of the
        other alone. Of such a pair the one that shares words with the query is first (SciFact:
        nDCG@10 .718; ties by id .714, dense first .711), and each score is made at least a bit
        smaller than the one before it, so that whoever sorts by score finds the same order.
        """
        import numpy as np

        from retrieval_index.fusion import fuse

        rankings = [(numbers, scores) for scores, numbers in (dense, lexical)]
        numbers, fused = fuse(rankings, self.method, self.weights)
        scores = fused.astype(np.float32)
        order = np.lexsort((_places(numbers, dense[1]), _places(numbers, lexical[1]), -scores))[:k]
        scores, numbers = scores[order], numbers[order]
        for place in range(1, len(scores)):
            if scores[place] >= scores[place - 1]:
                scores[place] = np.nextafter(scores[place - 1], np.float32(-np.inf))
        return scores, numbers


def _places(numbers: Numbers, ranking: Numbers) -> Numbers:
    """Returns where in a ranking numbers stand; its length for those that are not in it."""
    import numpy as np

    order = np.argsort(ranking, kind="stable")
    found = np.searchsorted(ranking, numbers, sorter=order)
    places = np.append(order, len(ranking))[np.minimum(found, len(ranking))]
    known = np.append(ranking, -1)[places] == numbers
    return np.where(known, places, len(ranking))
