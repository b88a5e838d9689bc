"""Two systems side by side, and whether their difference is more than chance (paired tests)."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, EvaluationError
from retrieval_index.evaluation.files import write_file
from retrieval_index.evaluation.metrics import parse_metrics

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.evaluation.evaluation import Evaluation

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


SAME = 1e-12  # values of a query that differ by less are a tie


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One metric.

    Attributes:
        metric: Its name.
        first: Mean of the first system.
        second: Mean of the second.
        difference: `first - second`.
        p_value: Chance of a difference at least as large if the systems are alike.
        p_holm: The same, corrected for the number of metrics compared.
        wins: Queries where the first is better.
        losses: Queries where the second is better.
        ties: Queries where both are equal.
    """

    metric: str
    first: float
    second: float
    difference: float
    p_value: float
    p_holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table that `Evaluation.compare` returns.

    Attributes:
        first: Name of the first system.
        second: Name of the second.
        queries: Number of queries.
        test: "randomization" or "t".
        rows: One for each metric.
    """

    first: str
    second: str
    queries: int
    test: str
    rows: tuple[ComparisonRow, ...]

    def __getitem__(self, metric: str) -> ComparisonRow:
        """Returns the row of a metric; KeyError if it was not compared."""
        for row in self.rows:
            if row.metric == metric:
                return row
        raise KeyError(metric)

    def __str__(self) -> str:
        header = ("metric", self.first, self.second, "difference", "p", "p (Holm)", "w/l/t")
        table = [header]
        for row in self.rows:
            means = f"{row.first:.4f}", f"{row.second:.4f}", f"{row.difference:+.4f}"
            tally = f"{row.wins}/{row.losses}/{row.ties}"
            table.append((row.metric, *means, f"{row.p_value:.4g}", f"{row.p_holm:.4g}", tally))
        widths = [max(len(line[i]) for line in table) for i in range(len(header))]
        sides = "<" + ">" * (len(header) - 1)
        shown = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in cells)
            for cells in (zip(line, sides, widths, strict=True) for line in table)
        ]
        return "\n".join([*shown, f"{self.queries} queries; {self.test} test, two-sided"])

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-ready data."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes the rows with a header to a file, replacing it; returns its path."""

        def write(file: IO[str]) -> None:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(ComparisonRow.__slots__)
            table.writerows(asdict(row).values() for row in self.rows)

        return write_file(path, write)


def compare(
    first: Evaluation,
    second: Evaluation,
    *,
    metrics: Iterable[str] | None = None,
    test: str = "randomization",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares two evaluations of the same queries; see `Evaluation.compare`."""
    import numpy as np

    p_value = find_test(test, resamples=resamples, seed=seed)
    if first.per_query.keys() != second.per_query.keys():
        only = len(first.per_query.keys() - second.per_query.keys())
        others = len(second.per_query.keys() - first.per_query.keys())
        raise EvaluationError(
            "`other` must be an evaluation of the same queries, as a paired test needs; "
            f"{only} are only in {first.name!r} and {others} only in {second.name!r}. Evaluate "
            "both with the same `queries` and `qrels`."
        )
    names = _common(first, second, metrics)
    queries = list(first.per_query)
    values = {
        name: np.array([first.per_query[q][name] - second.per_query[q][name] for q in queries])
        for name in names
    }
    for differences in values.values():
        differences[np.abs(differences) <= SAME] = 0.0
    p_values = [p_value(differences) for differences in values.values()]
    rows = [
        ComparisonRow(
            metric=name,
            first=first.metrics[name],
            second=second.metrics[name],
            difference=first.metrics[name] - second.metrics[name],
            p_value=p,
            p_holm=corrected,
            wins=int((values[name] > 0).sum()),
            losses=int((values[name] < 0).sum()),
            ties=int((values[name] == 0).sum()),
        )
        for name, p, corrected in zip(names, p_values, holm(p_values), strict=True)
    ]
    return Comparison(first.name, second.name, len(queries), test, tuple(rows))


def _common(first: Evaluation, second: Evaluation, metrics: Iterable[str] | None) -> list[str]:
    shared = [name for name in first.metrics if name in second.metrics]
    if metrics is None:
        if not shared:
            raise EvaluationError(
                f"`other` must share a metric; {first.name!r} has {', '.join(first.metrics)}, "
                f"{second.name!r} has {', '.join(second.metrics)}."
            )
        return shared
    names = [str(metric) for metric in parse_metrics(metrics)]
    missing = [name for name in names if name not in shared]
    if missing:
        raise EvaluationError(
            f"`metrics` must be in both evaluations ({', '.join(shared) or 'none is'}); received: "
            f"{', '.join(missing)}."
        )
    return names
