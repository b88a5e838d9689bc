"""Is the difference between two systems more than chance? Paired tests over queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from retrieval_index.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Differences = Sequence[float] | npt.NDArray[np.float64]

RESAMPLES = 20_000
AT_ONCE = 2_000_000  # signs drawn at once: 16 MB


def randomization_test(
    differences: Differences, *, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """Returns the two-sided p-value of Fisher's paired randomisation test (Smucker et al. 2007).

    If the systems are alike, each query's difference might as well have the other sign. The p-value
    is the share of signings whose mean is at least as far from 0 as the one that was seen: of all
    signings where these are no more than `resamples`, else of `resamples` random ones and the one
    seen, so that it is never 0.

    Args:
        differences: Metric of one system minus metric of the other, one for each query.
        resamples: Random signings.
        seed: Of the random signs; the same seed gives the same value.

    Returns:
        0 to 1; 1 if all differences are 0.
    """
    import numpy as np

    values = _checked(differences)
    values = values[values != 0]  # a sign does not change them
    if not len(values):
        return 1.0
    # Sums of the same numbers in another order differ in the last bits; those are equal.
    seen = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if 2 ** len(values) <= resamples:
        numbers = np.arange(2 ** len(values))[:, None]
        signs = 1.0 - 2.0 * (numbers >> np.arange(len(values)) & 1)
        return float(np.mean(np.abs(signs @ values) >= seen))
    generator = np.random.default_rng(seed)
    extreme, left = 0, resamples
    while left:
        rows = min(left, max(1, AT_ONCE // len(values)))
        bits = generator.integers(0, 2, size=(rows, len(values)), dtype=np.int8)
        # The sum with signs s = 1 - 2 b is the whole minus twice the part whose sign was turned.
        sums = values.sum() - 2.0 * (bits.astype(np.float64) @ values)
        extreme += int((np.abs(sums) >= seen).sum())
        left -= rows
    return (extreme + 1) / (resamples + 1)


def t_test(differences: Differences) -> float:
    """Returns the two-sided p-value of Student's paired t-test; 1 if all differences are 0.

    Raises:
        ArgumentError: If scipy is not installed, or there are fewer than two queries.
    """
    values = _checked(differences)
    if len(values) < 2:
        raise ArgumentError("`test='t'` needs at least two queries; received one.")
    try:
        from scipy import stats  # type: ignore[import-untyped]
    except ImportError as error:
        raise ArgumentError(
            "`test='t'` needs scipy, which is not installed: pip install scipy. "
            "`test='randomization'` does without."
        ) from error
    if not values.any():
        return 1.0
    if values.std() <= 1e-12 * abs(values.mean()):
        return 0.0  # all alike: t is infinite, and scipy warns of lost precision
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def find_test(test: str, *, resamples: int, seed: int) -> Callable[[Differences], float]:
    """Returns the test of a name, "randomization" or "t".

    Raises:
        ArgumentError: If it is neither.
    """
    if test == "t":
        return t_test
    if test == "randomization":
        return lambda differences: randomization_test(differences, resamples=resamples, seed=seed)
    raise ArgumentError(f"`test` must be 'randomization' or 't'; received: {test!r}.")


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number by Holm's method (1979).

    The i-th smallest of m is multiplied by m - i + 1; none is less than a smaller one's, nor above
    1. The chance that any of the true null hypotheses is rejected stays below the level.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = largest
    return corrected


def _checked(differences: Differences) -> npt.NDArray[np.float64]:
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ArgumentError(
            "`differences` must be finite numbers, one for each query, and at least one; received "
            f"the shape {values.shape}."
        )
    return values
