"""Reciprocal rank fusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval_index.arguments import check_positive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """A hit of rank r (from 1) is worth 1 / (k + r), a missing document 0; scores do not matter.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods" (SIGIR 2009), there without weights and with k = 60.

    Args:
        k: The larger, the less the first ranks stand out; at least 1. Default 60.
    """

    k: int = 60

    def __post_init__(self) -> None:
        check_positive("k", self.k)

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns 1 / (k + rank) and 0, see `FusionMethod`."""
        import numpy as np

        return 1.0 / (self.k + np.arange(1, len(scores) + 1, dtype=np.float64)), 0.0
