"""What a run found out: plain data, which `report.json` holds and the pages are made of."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("tensorflow", "keras", "keras-hub", "faiss-cpu", "scikit-learn", "numpy")


def environment() -> dict[str, Any]:
    """Machine and libraries; `load` is how many processes wanted a core at the start."""
    import kzoo

    found: dict[str, Any] = {
        "kzoo": kzoo.__version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }
    if hasattr(os, "getloadavg"):
        found["load at the start"] = round(os.getloadavg()[0], 1)
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed under this name"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


@dataclass(frozen=True)
class Score:
    """How good a classifier is on the test split.

    Args:
        name: What people call it.
        accuracy: Fraction of the rows that are right.
        macro_f1: Mean F1 over the classes.
        remark: How it was made, in a few words.
    """

    name: str
    accuracy: float
    macro_f1: float
    remark: str = ""


@dataclass(frozen=True)
class Verdict:
    """The adapter against one baseline, on the same test texts.

    Args:
        baseline: Name of the baseline.
        difference: Accuracy of the adapter minus that of the baseline.
        standard_error: Of the difference.
    """

    baseline: str
    difference: float
    standard_error: float

    @property
    def beaten(self) -> bool:
        """Whether the adapter is more accurate."""
        return self.difference > 0

    @property
    def clear(self) -> bool:
        """Whether the difference, of either sign, is more than two standard errors."""
        return abs(self.difference) > 2 * self.standard_error


@dataclass(frozen=True)
class ModelFacts:
    """A model as somebody who has to ship it sees it.

    Args:
        name: What people call it.
        parameters: All of them.
        trainable: Those that `fit` moved.
        megabytes: Size of the saved file, 10^6 bytes.
        texts_per_second: Median over the rounds; None where it was not measured.
        accuracy: On the test split.
        macro_f1: On the test split.
    """

    name: str
    parameters: int
    trainable: int
    megabytes: float
    texts_per_second: float | None
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Hit:
    """A passage that was found.

    Args:
        score: Cosine of question and passage.
        document_id: Its document.
        start: First character of the passage in the document.
        end: One past the last.
        text: The passage.
    """

    score: float
    document_id: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Answer:
    """A question with the passages closest to it, best first."""

    question: str
    hits: list[Hit]


@dataclass
class Results:
    """Everything that the report shows.

    Args:
        quick: Whether this was the short run.
        notes: What was left out, cut or chosen; one sentence each.
        environment: Facts about the machine and the libraries.
        settings: The numbers of the run.
        labels: Names of the classes.
        counts: Rows of each split.
        history: Metric -> value after each epoch of the adapter.
        best_epoch: The epoch that was kept, from 1.
        scores: The adapter first, then the baselines.
        verdicts: The adapter against each baseline.
        confusion: Test rows, true classes in rows, predicted classes in columns.
        models: The teacher first, then the students.
        index: Facts about the index.
        answers: Questions and passages.
        seconds: Wall-clock time of each step.
        cpu_seconds: Time of all cores together in each step; on a machine that does something else
            too, this is what tells about the step.
        next_commands: What to try next.
    """

    quick: bool
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    scores: list[Score] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    models: list[ModelFacts] = field(default_factory=list)
    index: dict[str, Any] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    next_commands: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Whether the adapter beats the baselines, in plain words."""
        if not self.verdicts:
            return "There was no baseline to compare with."
        beaten = [v for v in self.verdicts if v.beaten]
        if len(beaten) == len(self.verdicts):
            how = "The adapter beats " + _joined([v.baseline for v in beaten])
        elif beaten:
            others = [v.baseline for v in self.verdicts if not v.beaten]
            how = (
                f"The adapter beats {_joined([v.baseline for v in beaten])}, "
                f"but does NOT beat {_joined(others)}"
            )
        else:
            names = " or ".join(v.baseline for v in self.verdicts)
            how = f"The adapter does NOT beat {names}"
        details = "; ".join(
            f"{100 * v.difference:+.1f} ± {100 * v.standard_error:.1f} points against {v.baseline}"
            + ("" if v.clear else ", which is within chance")
            for v in self.verdicts
        )
        return f"{how}: {details} (accuracy on the same test texts, ± one standard error)."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
