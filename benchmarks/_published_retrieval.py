"""Published figures of retrieval, and what counts as reaching them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A published nDCG@10 (or one of the same models by other programs) and what counts as it.

    Attributes:
        value: The figure.
        within: How far below, or where `both`, above it may be.
        both: Whether it is a reproduction, where more would be as wrong as less.
    """

    value: float
    within: float = 0.0
    both: bool = False

    def verdict(self, found: float) -> str:
        """ "ok", "above" or "BELOW"."""
        difference = round(found, 4) - self.value
        if difference < -self.within - 1e-9:
            return "BELOW"
        return "above" if self.both and difference > self.within + 1e-9 else "ok"


# Dense: all-MiniLM-L6-v2, mean of 256 tokens; SciFact from MTEB's results. BM25: k1 0.9, b 0.4,
# English stopwords and Snowball's stemmer. Fused: reciprocal ranks, depth 100, equal weights.
GOALS: Mapping[str, Mapping[str, Goal]] = {
    "scifact": {
        "dense": Goal(0.6451, 0.001, both=True),
        "lexical": Goal(0.676),
        "fused": Goal(0.718),
    },
    "cranfield": {"dense": Goal(0.4273, 0.001), "lexical": Goal(0.4041), "fused": Goal(0.4675)},
    "stackfaq": {"dense": Goal(0.9566, 0.001), "lexical": Goal(0.7953), "fused": Goal(0.9026)},
}
