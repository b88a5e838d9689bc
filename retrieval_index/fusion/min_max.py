"""Scores stretched to 0 ... 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class MinMax:
    """A hit is worth (score - lowest) / (highest - lowest), a missing document 0.

    Lee, "Analyses of multiple evidence combination" (SIGIR 1997). The lowest hit is worth as
    little as a missing document, so depth matters: fuse rankings of about 100 hits for a page of
    10. Where all scores are equal (a single hit, say), each hit is worth 1.
    """

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns values in [0, 1] and 0, see `FusionMethod`."""
        import numpy as np

        # Halves, as the difference of two of the largest floats overflows.
        lowest = scores.min() / 2
        width = scores.max() / 2 - lowest
        if width == 0:
            return np.ones_like(scores), 0.0
        return (scores / 2 - lowest) / width, 0.0
