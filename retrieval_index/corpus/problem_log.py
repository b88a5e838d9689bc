"""Entries that cannot be used: counted and remembered, or refused at once."""

from __future__ import annotations

from collections import Counter

from retrieval_index.errors import CorpusError
from retrieval_index.report import Problem

MAX_EXAMPLES = 20


class ProblemLog:
    """Counts unusable entries by reason and keeps the first few with their places.

    Args:
        strict: Whether the first unusable entry ends the build.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.skipped: Counter[str] = Counter()
        self.ignored_files: Counter[str] = Counter()
        self.examples: list[Problem] = []

    def add(self, reason: str, where: str, detail: str) -> None:
        """Records one entry.

        Args:
            reason: Short name of the kind.
            where: Place of the entry.
            detail: One sentence without a full stop.

        Raises:
            CorpusError: If the log is strict.
        """
        if self.strict:
            raise CorpusError(
                f"`corpus` has an unusable entry at {where}: {detail}. Mend it, or build with "
                "`strict=False`, which passes over such entries and counts them."
            )
        self.skipped[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Problem(reason, where, detail))

    def ignore_file(self, suffix: str) -> None:
        """Counts a file that is of no readable kind; never an error, as folders hold such files."""
        self.ignored_files[suffix or "(no suffix)"] += 1

    def summary(self) -> str:
        """Returns one line for a person: counts by reason and the first places."""
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.skipped.items()))
        places = "; ".join(f"{p.where}: {p.detail}" for p in self.examples[:3])
        return f"{sum(self.skipped.values())} entries passed over ({counts}). First: {places}."
