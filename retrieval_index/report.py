"""The account of a build: what went in, what was passed over and why, what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One corpus entry that was passed over.

    Attributes:
        reason: Short name of the kind, such as "not_json"; the key in `BuildReport.skipped`.
        where: File with line and byte offset, or the number of the item.
        detail: One sentence about this entry.
    """

    reason: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Counts and times of one build.

    Attributes:
        corpus: Description of the source.
        documents: Documents that were taken.
        chunks: Passages they were cut into.
        encoded_chunks: Passages encoded by this run.
        reused_chunks: Passages taken over from a run that was broken off.
        skipped: Entries passed over, by reason.
        ignored_files: Files in the folder that are of no readable kind, by suffix.
        problems: The first few skipped entries, with their places.
        repeated_texts: Documents whose title and text came before under another id.
        replaced: Documents of the index that new ones took the place of (`update`).
        unchanged: Documents that the index holds with the same content already (`update`).
        seconds: Wall clock of the whole run.
        encode_seconds: Part of it inside the encoder.
    """

    corpus: str
    documents: int
    chunks: int
    encoded_chunks: int
    reused_chunks: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    ignored_files: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    repeated_texts: int = 0
    replaced: int = 0
    unchanged: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0

    @property
    def skipped_total(self) -> int:
        """Number of entries passed over, of all kinds."""
        return sum(self.skipped.values())

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildReport:
        """Returns the report that `to_dict` wrote.

        Raises:
            TypeError: If a key is missing or unknown, or a value is of the wrong kind.
        """
        for name in ("skipped", "ignored_files"):
            counts = data.get(name, {})
            if not isinstance(counts, Mapping) or not all(type(n) is int for n in counts.values()):
                raise TypeError(f"{name} must map names to numbers")
        problems = tuple(Problem(**problem) for problem in data.get("problems", ()))
        return cls(**{**data, "problems": problems})
