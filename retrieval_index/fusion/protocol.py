"""What a fusion method is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FusionMethod(Protocol):
    """Turns the scores of one ranking into values that can be added to those of another."""

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns what each hit is worth, and what a document is worth that is no hit.

        Args:
            scores: Scores of the hits of one ranking, best first, of shape (hits,), hits >= 1.

        Returns:
            Values of shape (hits,), and the value of a missing document, which is at most the
            least of them.
        """
        ...
