"""Two systems side by side."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation.files import write_file
from retrieval_index.evaluation.metric_names import parse_metrics
from retrieval_index.evaluation.significance import RESAMPLES, find_test, holm

if TYPE_CHECKING:
    from retrieval_index.evaluation.evaluation import Evaluation

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
