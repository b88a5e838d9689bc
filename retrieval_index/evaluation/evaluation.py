"""The outcome of an evaluation."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation.comparison import RESAMPLES, Comparison, compare
from retrieval_index.evaluation.files import write_file, write_text
from retrieval_index.evaluation.runs import Run


@dataclass(frozen=True, slots=True)
class Counts:
    """Of queries.

    Attributes:
        evaluated: Those the means are over: asked, and with at least one judgement.
        without_hits: Of these, those that nothing was found for; they count as 0.
        without_relevant: Of these, those whose judgements name no relevant document; they count as
            0 too, as in trec_eval, and lower the means of all systems alike.
        without_judgements: Asked, but left out, as nothing is known about them.
        not_asked: Judged, but not among the queries.
    """

    evaluated: int
    without_hits: int = 0
    without_relevant: int = 0
    without_judgements: int = 0
    not_asked: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one query; in batches, those of the batch over its queries."""

    p50: float
    p95: float
    mean: float
    batch_size: int = 1


@dataclass(frozen=True)
class Evaluation:
    """How good the answers of a system are. Made by `evaluate` and `evaluate_run`.

    Attributes:
        name: Of the system.
        metrics: Mean of each metric over the queries.
        per_query: Value of each metric for each query.
        counts: Of queries that were used, and were not.
        k: Documents asked for each query; None for a run of another system.
        latency: Of the searches; None for a run of another system.
        run: Score of each document found for each query; not part of the saved data.
    """

    name: str
    metrics: dict[str, float]
    per_query: dict[str, dict[str, float]]
    counts: Counts
    k: int | None = None
    latency: Latency | None = None
    run: Run = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        width = max(len(name) for name in self.metrics)
        rows = [f"{name:<{width}}  {value:.4f}" for name, value in self.metrics.items()]
        return "\n".join([*rows, self.summary()])

    def summary(self) -> str:
        """Returns one line about queries and latency."""
        counts = self.counts
        notes = [
            (counts.without_hits, "without hits (count as 0)"),
            (counts.without_relevant, "without a relevant document (count as 0)"),
            (counts.without_judgements, "without judgements (left out)"),
            (counts.not_asked, "judged but not asked"),
        ]
        parts = [f"{counts.evaluated} queries", *(f"{n} {what}" for n, what in notes if n)]
        if self.latency is not None:
            parts.append(f"p50 {self.latency.p50:.1f} ms, p95 {self.latency.p95:.1f} ms a query")
        return "; ".join(parts)

    def compare(
        self,
        other: Evaluation,
        *,
        metrics: Iterable[str] | None = None,
        test: str = "randomization",
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Comparison:
        """Returns, for each metric, the difference to another system and whether it is chance.

        Args:
            other: Of the same queries.
            metrics: Names of those to compare; None: all that both have. Name them before you look:
                each further one makes the corrected p-values larger.
            test: "randomization" (Fisher's, by random signs) or "t" (Student's paired t-test,
                which needs scipy).
            resamples: Random signings of the randomisation test.
            seed: Of the random signs.

        Returns:
            A table; differences are this minus the other.

        Raises:
            EvaluationError: If the queries of the two differ, or they share no metric.
            ArgumentError: If a metric or the test is unknown.
        """
        return compare(self, other, metrics=metrics, test=test, resamples=resamples, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-ready data, from which `from_dict` makes an equal evaluation."""
        return {
            "name": self.name,
            "metrics": dict(self.metrics),
            "counts": asdict(self.counts),
            "k": self.k,
            "latency_ms": None if self.latency is None else asdict(self.latency),
            "per_query": {query: dict(values) for query, values in self.per_query.items()},
        }

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Writes `to_dict()` to a file, replacing it; returns its path."""
        return write_text(path, [json.dumps(self.to_dict(), indent=1, allow_nan=False), "\n"])

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes the table of queries, with a header and no means, to a file; returns its path."""

        def write(file: IO[str]) -> None:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["query_id", *self.metrics])
            for query, values in self.per_query.items():
                table.writerow([query, *(values[name] for name in self.metrics)])

        return write_file(path, write)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evaluation:
        """Returns the evaluation that `to_dict` described, without its run.

        Raises:
            EvaluationError: If the data are something else.
        """
        try:
            latency = data["latency_ms"]
            made = cls(
                name=str(data["name"]),
                metrics={str(name): float(value) for name, value in data["metrics"].items()},
                per_query={
                    str(query): {name: float(values[name]) for name in data["metrics"]}
                    for query, values in data["per_query"].items()
                },
                counts=Counts(**data["counts"]),
                k=data["k"],
                latency=None if latency is None else Latency(**latency),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"`data` must be what `Evaluation.to_dict` returns ({error!r:.80})."
            ) from error
        if not made.metrics or not made.per_query:
            raise EvaluationError("`data` must have at least one metric and one query.")
        return made

    @classmethod
    def read_json(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Returns the evaluation that `to_json` wrote, without its run.

        Raises:
            EvaluationError: If there is no such file, or it holds something else.
        """
        try:
            data = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise EvaluationError(f"`path` {path} cannot be read as JSON: {error}.") from error
        return cls.from_dict(data)
