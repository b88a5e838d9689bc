"""Scores in standard deviations from their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ZScore:
    """A hit is worth (score - mean) / standard deviation, a missing document the lowest of these.

    Mean and (population) deviation are those of the ranking's own hits. A missing document cannot
    get the mean, 0, as it would pass half of the hits; Montague and Aslam, "Relevance score
    normalization for metasearch" (CIKM 2001), move all values up by 2 for that reason. Where all
    scores are equal (a single hit, say), each hit is worth 0 and a missing document -1.
    """

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns standard scores and their lowest, see `FusionMethod`."""
        import numpy as np

        scale = float(np.abs(scores).max())
        centred = scores / scale if scale > 0 else np.zeros_like(scores)
        centred = centred - centred.mean()
        deviation = float(centred.std())
        if scores.min() == scores.max() or deviation == 0:
            return np.zeros_like(scores), -1.0
        values = centred / deviation
        return values, float(values.min())
